"""cuDNN's kernels, through its graph API (the package ``nvidia-cudnn-frontend``), where they are there and serve.

Every function here returns None where cuDNN is missing, switched off, or refuses the operands: the caller then goes on
with kernels of our own. ``library`` finds cuDNN, builds plans, keeps them, and runs them.
"""
