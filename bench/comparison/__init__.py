"""The core and its peers on the same broker: how fast, how big, how soon. The command is ``bench/peers.py``.

``registry.py`` says who is compared, ``contenders/`` how each is used, ``measures/`` what is measured and how.
A contender runs in processes of its own: ``child.py`` is what they run, ``process.py`` our end of them.
"""
