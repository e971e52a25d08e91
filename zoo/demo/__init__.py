"""The demo: CNN-F and its plain twin look at corrupted images.

>>> from zoo import demo
>>> demo.run("zoo-demo").index
PosixPath('zoo-demo/index.html')
"""

from zoo.demo.build import DemoError, DemoResult, run

__all__ = ["DemoError", "DemoResult", "run"]
