"""Small applications on top of retorch's public interface."""
