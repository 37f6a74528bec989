"""PyTorch: a network as readable source that computes what Torch7 computed and trains as it trained.

``trace`` follows a pass and remembers which module made what; ``planning`` turns modules into parts: by a rule of
their class (``rules/FAMILY.py``), else by the torch expressions of their ONNX operators (``flow``, ``operators``);
``model_file`` prints the parts, ``twin`` holds the result and writes it. ``library/`` holds Python source, read as
text, of the classes that PyTorch does not have. Nothing here imports torch.

Comes in: a network and an example of its input. Goes out: ``model.py`` and its weights. Open first: ``planning.py``.
"""
