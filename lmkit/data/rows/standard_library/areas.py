"""What a module of the standard library is for, one of seven areas: a judgement, written down here."""

_MODULES = {
    "internet": """
        asynchat asyncore base64 cgi cgitb email ftplib http imaplib ipaddress mailbox mailcap mimetypes netrc
        nntplib poplib quopri select selectors smtpd smtplib socket socketserver ssl telnetlib urllib uu
        webbrowser wsgiref xmlrpc
    """,
    "interface": """
        audioop cmd colorsys curses getpass ossaudiodev readline tkinter turtle wave
    """,
    "concurrency": """
        asyncio concurrent contextvars multiprocessing queue sched signal subprocess threading
    """,
    "files": """
        bz2 dbm fcntl filecmp fileinput fnmatch glob gzip io linecache lzma mmap os pathlib pipes pty shelve
        shutil stat tarfile tempfile zipapp zipfile zipimport zlib
    """,
    "data": """
        array bisect builtins calendar cmath collections copy datetime decimal enum fractions functools graphlib
        hashlib heapq hmac itertools math numbers operator random secrets statistics struct time uuid weakref
        zoneinfo
    """,
    "code": """
        abc ast bdb cProfile code codeop compileall contextlib ctypes dataclasses dis doctest gc importlib
        inspect modulefinder pdb pickle pickletools pkgutil profile pstats py_compile pyclbr pydoc runpy site
        symtable sys sysconfig timeit tokenize trace traceback tracemalloc types typing unittest venv warnings
    """,
    "text": """
        argparse binascii codecs configparser csv difflib getopt gettext html json locale logging optparse
        plistlib pprint pyexpat re reprlib shlex string stringprep textwrap tomllib unicodedata xml
    """,
}
_AREAS = {module: area for area, modules in _MODULES.items() for module in modules.split()}

AREAS = tuple(_MODULES)
"""All of them, as labels."""


def area(module: str) -> str | None:
    """The area of a module or of one within it; none where it has none, or several."""
    return _AREAS.get(module.partition(".")[0])
