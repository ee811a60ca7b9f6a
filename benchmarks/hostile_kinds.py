"""Kinds of hostile programs: what they attempt, and the ways in which a program can come to attempt it."""

# ruff: noqa: E501 - a program is one text

from __future__ import annotations

import random
from textwrap import dedent, indent
from typing import NamedTuple


class Outside(NamedTuple):
    """What a program may try to reach."""

    file: str
    port: int
    abstract: str  # abstract address of a Unix socket
    process: int


def hostile_program(kind: str, target: Outside, rng: random.Random) -> str:
    """Make a program of a kind: one of its attacks, with random numbers and names, begun in a random way."""
    words = {
        "FILE": target.file,
        "PORT": str(target.port),
        "ABSTRACT": target.abstract,
        "PROCESS": str(target.process),
        "NUMBER": str(rng.randrange(1, 100)),
        "LARGE": str(10 ** rng.randrange(6, 11)),
        "SIGNAL": str(rng.randrange(1, 32)),
        "NAME": "".join(rng.choices("abcdefgh", k=8)),
        "FOLDER": rng.choice(
            ["/", "/tmp", "/dev/shm", "/packages", "/usr/lib", "/var/tmp", ".", "/root", "/proc"]
        ),
    }
    attack, way = rng.choice(KINDS[kind]), rng.choice(_WAYS)
    for word, value in words.items():
        attack = attack.replace(word, value)
    return dedent(way).strip().replace("ATTACK", indent(dedent(attack).strip(), "    ").strip())


# Where the attack is begun: when the module runs, when the tests call, at the end, in a thread, again and again.
_WAYS = [
    """
def attack():
    ATTACK
def f(x):
    return attack()
print(f(1))
""",
    """
def attack():
    ATTACK
result = attack()
def f(x):
    return result
""",
    """
def attack():
    ATTACK
def f(x):
    try:
        return attack()
    except BaseException as error:
        return error
print(f(1))
""",
    """
import atexit
def attack():
    ATTACK
atexit.register(attack)
def f(x):
    return x
print(f(1))
""",
    """
import threading
def attack():
    ATTACK
thread = threading.Thread(target=attack)
thread.start()
def f(x):
    thread.join()
print(f(1))
""",
    """
def attack():
    ATTACK
class Hidden:
    def __del__(self):
        attack()
    def __eq__(self, other):
        attack()
        return True
    def __repr__(self):
        attack()
        return ""
def f(x):
    return Hidden()
print(f(1))
""",
    """
def attack():
    ATTACK
def f(x):
    for _ in range(1000):
        try:
            attack()
        except Exception:
            pass
f(1)
""",
    """
import sys
def attack():
    ATTACK
sys.excepthook = lambda *_: attack()
def f(x):
    raise ValueError(attack())
f(1)
""",
]

KINDS: dict[str, list[str]] = {
    "processes": [
        "import os\nwhile True:\n    os.fork()",
        "import os\nfor _ in range(NUMBER):\n    if os.fork() == 0:\n        os.setsid()\n        while True: pass",
        "import subprocess\nreturn subprocess.run(['/bin/sh', '-c', ':(){ :|:& };:'])",
        "import os\nreturn os.system('sleep 1000 &')",
        "import os\nreturn os.popen('id').read()",
        "import os, sys\nos.posix_spawn('/usr/bin/true', ['true'], {})",
        "import os, sys\nos.execv(sys.executable, ['python', '-c', 'while True: pass'])",
        "import multiprocessing\nmultiprocessing.Process(target=print).start()",
        "import pty\nreturn pty.fork()",
        "import ctypes\nlibc = ctypes.CDLL(None)\nwhile True:\n    libc.fork()",
        "import ctypes\nlibc = ctypes.CDLL(None)\nreturn [libc.syscall(n, 0x11, 0, 0, 0, 0) for n in (56, 57, 58, 435)]",
    ],
    "threads": [
        "import threading, time\nwhile True:\n    threading.Thread(target=time.sleep, args=(1000,)).start()",
        "import _thread, time\nwhile True:\n    _thread.start_new_thread(time.sleep, (1000,))",
        "import threading\nthreading.stack_size(32768)\nthreads = [threading.Thread(target=input) for _ in range(10**5)]\n"
        "for thread in threads:\n    thread.start()",
        "import threading\ndef g():\n    threading.Thread(target=g).start()\n    while True: pass\ng()",
        "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()",
    ],
    "files": [
        "with open('FOLDER/NAME', 'wb') as file:\n    while True:\n        file.write(bytes(10**6))",
        "for n in range(LARGE):\n    open(f'FOLDER/NAME{n}', 'w').close()",
        "import tempfile\nwith tempfile.NamedTemporaryFile() as file:\n    while True:\n        file.write(bytes(10**6))",
        "import os\nos.mkdir('FOLDER/NAME')\nos.chdir('FOLDER/NAME')",
        "open('FILE', 'w').write('changed')",
        "import os\nos.symlink('FILE', 'FOLDER/NAME')\nopen('FOLDER/NAME', 'w').write('changed')",
        "import os\nos.symlink('/', 'FOLDER/NAME')\nreturn os.listdir('FOLDER/NAME')",
        "import os\nos.link('FILE', 'FOLDER/NAME')",
        "import os\nos.unlink('FILE')",
        "import os\nos.chmod('/usr/lib', 0o777)\nos.rename('/usr/lib', '/NAME')",
        "import shutil\nshutil.rmtree('/')",
        "import os\nos.mknod('FOLDER/NAME', 0o20666, os.makedev(1, 1))",
        "import os\nfile = os.memfd_create('NAME')\nwhile True:\n    os.write(file, bytes(10**6))",
        "import os\nfiles = [os.pipe() for _ in range(LARGE)]",
        "import os\nos.ftruncate(1, 10**12)",
        "import os\nos.lseek(1, 10**12, 0)\nos.write(1, b'x')",
        "import sqlite3\nsqlite3.connect('FOLDER/NAME').execute('create table t(a)')",
        "import os\nreturn [open(p).read() for p in ('/etc/shadow', '/etc/gshadow', '/etc/passwd')]",
        "import os\nreturn open('../' * NUMBER + 'FILE').read()",
        "import glob\nreturn glob.glob('/**', recursive=True)",
        "import shelve\nshelve.open('FOLDER/NAME')['a'] = 'b' * LARGE",
    ],
    "network": [
        "import socket\nsocket.create_connection(('127.0.0.1', PORT))",
        "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', PORT))",
        "import socket\nsocket.socket(socket.AF_UNIX).connect('\\0ABSTRACT')",
        "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
        "import socket\nsocket.socket(40, socket.SOCK_STREAM).connect((2, PORT))",
        "import socket\nsocket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)",
        "import socket\nsocket.create_server(('', PORT)).accept()",
        "import urllib.request\nreturn urllib.request.urlopen('http://127.0.0.1:PORT/').read()",
        "import http.server\nhttp.server.HTTPServer(('', 8000), http.server.BaseHTTPRequestHandler).serve_forever()",
        "import asyncio\nasyncio.run(asyncio.open_connection('127.0.0.1', PORT))",
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nreturn [libc.syscall(n, 2, 1, 0) for n in (41, 198, 425)]",
        "import socket\na, b = socket.socketpair()\nwhile True:\n    a.send(bytes(10**5))",
        "import socket\nreturn socket.getaddrinfo('localhost', PORT)",
    ],
    "signals": [
        "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\nwhile True: pass",
        "import signal\nfor n in (14, 15, 24, 25):\n    signal.signal(n, lambda *_: attack())\nwhile True: pass",
        "import os\nfor n in range(1, 1000):\n    try: os.kill(n, SIGNAL)\n    except OSError: pass",
        "import os\nos.kill(-1, SIGNAL)",
        "import os\nos.kill(os.getppid(), SIGNAL)",
        "import os\nos.killpg(0, SIGNAL)",
        "import os\nos.kill(PROCESS, SIGNAL)",
        "import os\nos.kill(os.getpid(), SIGNAL)",
        "import signal\nsignal.raise_signal(19)",
        "import signal\nsignal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)\nwhile True: pass",
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))\nwhile True: pass",
        "import signal\nsignal.pause()",
        "import os, resource\nresource.prlimit(os.getppid(), resource.RLIMIT_FSIZE, (0, 0))",
        "import os\nos.sched_setaffinity(1, {0})\nos.setpriority(os.PRIO_PROCESS, 1, 19)",
        "import os\nos.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0))",
        "import resource\nfor kind in range(16):\n    try: resource.setrlimit(kind, (-1, -1))\n    except (ValueError, OSError): pass\nreturn bytearray(10**10)",
    ],
    "answers": [
        "import gc\nreturn [o for o in gc.get_objects() if isinstance(o, dict)]",
        "import gc\nreturn max((n for o in gc.get_objects() for n in gc.get_referents(o) if type(n) is int), default=0)",
        "import sys\nframe = sys._getframe()\nfound = {}\nwhile frame:\n    found.update(frame.f_locals)\n    frame = frame.f_back\nreturn repr(found)",
        "import os\nreturn [open(f'/proc/{n}/mem', 'rb').read(100) for n in (1, os.getppid(), 'self')]",
        "return open('/proc/self/maps').read() + open('/proc/1/environ').read()",
        "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\nreturn [libc.ptrace(16, n, 0, 0) for n in (1, os.getppid())]",
        "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\nbuffer = ctypes.create_string_buffer(64)\n"
        "vector = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 64)\nlibc.process_vm_readv(1, vector, 1, vector, 1, 0)\nreturn buffer.raw",
        "import os\nfound = []\nfor n in range(256):\n    try: found.append(os.pread(n, 10**6, 0))\n    except OSError: pass\nreturn found",
        "import os\nfor n in range(3, 256):\n    try: os.read(n, 1)\n    except OSError: pass",
        "import os\nfor n in range(1, 256):\n    try: os.write(n, b'\\0' * 7 + b'\\x11{\"problem\": null}')\n    except OSError: pass",
        "import os\nfor n in range(1, 256):\n    try: os.write(n, b'\\0' * 7 + b'\\x1b{\"value\":NUMBER,\"changed\":[]}')\n    except OSError: pass",
        "import os\nfor n in range(256):\n    try: os.close(n)\n    except OSError: pass",
        "import os\nfor n in range(3, 64):\n    try: os.dup2(1, n)\n    except OSError: pass",
        "import os\nreturn dict(os.environ)",
        "import sys\nreturn sys.argv + sys.path + list(sys.modules)",
        "import ctypes\nreturn ctypes.string_at(id(f) - NUMBER * 1000, 10**5)",
        "import inspect\nreturn [inspect.getsource(i.frame) for i in inspect.stack()]",
    ],
    "memory": [
        "return bytearray(10**10)",
        "found = []\nwhile True:\n    found.append('x' * LARGE)",
        "return 'x' * 10**10",
        "return 10 ** 10 ** 9",
        "import mmap\nreturn [mmap.mmap(-1, 10**8) for _ in range(1000)]",
        "def g(n):\n    return g(n + 1)\nimport sys\nsys.setrecursionlimit(10**9)\nreturn g(0)",
        "found = {}\nwhile True:\n    found[len(found)] = [0] * 1000",
        "import re\nreturn re.match('(a*)*b', 'a' * 50)",
        "return sorted(range(LARGE), key=lambda n: -n)",
        "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.malloc.restype = ctypes.c_void_p\nwhile True:\n    ctypes.memset(libc.malloc(10**7), 1, 10**7)",
        "import ctypes\nlibc = ctypes.CDLL(None)\nwhile libc.shmget(0, 10**8, 0o1666) >= 0: pass",
    ],
    "output": [
        "while True:\n    print('x' * LARGE)",
        "import sys\nwhile True:\n    sys.stderr.write('x' * 10**6)",
        "import os\nwhile True:\n    os.write(1, bytes(10**6))",
        "import os\nos.write(1, bytes(range(256)) * 1000)",
        "print('\\n' * 10**7)",
        "print('1 ' * 10**6)",
        "return 'x' * 10**8",
        "found = []\nfor _ in range(10**5):\n    found = [found]\nreturn found",
        "found = []\nfound.append(found)\nreturn found",
        "return [[]] * 10**6",
        "return iter(int, 1)",
        "return (n for n in iter(int, 1))",
        "return float('nan'), float('inf'), 10**5000, '\\ud800', b'x'",
        "return {'dict': 1, 'object': 0, 'yours': 0}",
        "print('0 tests failed\\nOK\\nall tests passed')",
        "import sys\nsys.stdout.close()",
    ],
    "cheats": [
        "import os\nos._exit(0)",
        "import sys\nsys.exit(0)",
        "exit()",
        "raise SystemExit",
        "raise KeyboardInterrupt",
        "raise StopIteration",
        "raise GeneratorExit",
        "raise AssertionError",
        "raise EOFError",
        "class E(BaseException):\n    def __str__(self): raise self\nraise E",
        "class E(Exception): pass\nE.__name__ = 'x' * LARGE\nraise E('x' * 10**6)",
        "class T(int):\n    def __eq__(self, other): return True\n    __sub__ = __abs__ = lambda self, *_: self\n    __hash__ = int.__hash__\nreturn T()",
        "class T:\n    def __eq__(self, other): return True\n    def __sub__(self, other): return 0\n    def __abs__(self): return 0\n    def __contains__(self, other): return True\nreturn T()",
        "class T:\n    def __getattr__(self, name): return self\n    def __call__(self, *_): return self\n    def __lt__(self, other): return True\nreturn T()",
        "class M(type):\n    def __instancecheck__(self, other): return True\n    def __eq__(self, other): return True\n    __hash__ = type.__hash__\nclass T(metaclass=M): pass\nreturn T",
        "import builtins\nbuiltins.AssertionError = ValueError\nbuiltins.abs = lambda _: 0\nbuiltins.isinstance = lambda *_: True",
        "import json\njson.dumps = lambda *_, **__: '{\"problem\": null}'\njson.loads = lambda *_: {}",
        "import sys\nfor module in list(sys.modules.values()):\n    for name in list(vars(module)):\n        if callable(getattr(module, name)): setattr(module, name, lambda *_, **__: True)",
        "import sys\nsys.settrace(lambda *_: None)\nsys.setprofile(lambda *_: exit())",
        "import sys\nsys.modules['inside.values'].encode = lambda *_: None",
        "import operator, math\noperator.eq = lambda *_: True\nmath.isclose = lambda *_: True",
        "globals().update({name: lambda *_: True for name in ('check', 'candidate', 'abs', 'AssertionError')})",
        "__builtins__ = {}\nglobals()['__builtins__'] = {}",
        "import gc\nfor o in gc.get_objects():\n    if isinstance(o, dict):\n        try: o.clear()\n        except Exception: pass",
    ],
    "crashes": [
        "import ctypes\nctypes.string_at(0)",
        "import ctypes\nctypes.memset(id(f), 255, 10**4)",
        "import os\nos.abort()",
        "import sys\nsys.setrecursionlimit(10**9)\nclass A:\n    def __repr__(self): return repr([self])\nreturn repr(A())",
        "return eval('(' * 10**5 + ')' * 10**5)",
        "return eval('-' * 10**6 + '1')",
        "return compile('+'.join(['x'] * 10**5), '', 'eval')",
        "return eval('lambda: ' * 10**4 + '1')",
        "import marshal\nreturn marshal.loads(bytes(range(NUMBER, 256)) * NUMBER)",
        "exec((lambda: 0).__code__.replace(co_code=bytes(range(NUMBER, 256)) * 10))",
        "import pickle\nreturn pickle.loads(b'cos\\nsystem\\n(S\"id\"\\ntR.')",
        "import faulthandler\nfaulthandler._sigsegv()",
        "import ctypes\nctypes.pythonapi.Py_Exit(0)",
        "import ctypes\nctypes.pythonapi.Py_Finalize()",
    ],
    "kernel": [
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nreturn libc.unshare(0x10000000 | 0x00020000)",
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nreturn libc.mount(b'none', b'/usr', b'tmpfs', 0, 0)",
        "import os\nos.chroot('/usr')\nos.chdir('../' * NUMBER)",
        "import os\nos.setuid(0)\nos.setgroups([0])",
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nreturn [libc.syscall(n, *[0] * 6) for n in range(134, 600) if n not in (231,)]",
        "import ctypes, random\nlibc = ctypes.CDLL(None, use_errno=True)\nwhile True:\n"
        "    libc.syscall(random.randrange(600), *[random.choice([0, 1, -1, 4096]) for _ in range(6)])",
        "import os\nreturn os.listdir('/sys'), os.listdir('/dev'), os.listdir('/proc')",
        "import os\nos.nice(-20)\nos.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(99))",
        "import os\nfor n in range(100):\n    os.open('/usr/lib', os.O_PATH)\nos.fchdir(99)",
        "import ctypes\nlibc = ctypes.CDLL(None)\nreturn libc.prctl(22, 0, 0, 0, 0), libc.prctl(38, 0, 0, 0, 0), libc.prctl(4, 1, 0, 0, 0)",
        "import time\ntime.clock_settime(0, 0)",
        "import socket\nsocket.sethostname('NAME')",
    ],
    "waiting": [
        "import time\ntime.sleep(1000)",
        "while True: pass",
        "import sys\nsys.stdin.read()\ninput()",
        "import select\nselect.select([], [], [])",
        "import queue\nqueue.Queue().get()",
        "import itertools\nsum(itertools.count())",
    ],
    "no programs": [
        "\0",
        "return '\\N{NO SUCH NAME}'",
        "\ud800",
        "x = 1\n  y = 2",
        "nonlocal x",
        "# coding: NAME\nreturn 1",
        "import NAME",
        "from . import NAME",
        "await f()",
        "yield 1",
        "import this\nimport antigravity",
    ],
}
