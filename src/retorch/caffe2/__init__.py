"""Caffe2: its files, its operators (one table out, one table back), and the real thing in a process of its own."""
