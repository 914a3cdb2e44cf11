"""What each package is made to do: real work whose result can be compared.

Each entry maps a distribution name to source that binds `result` to a value with a
deterministic repr. It runs unchanged in the main interpreter and in others.
"""

from catalogue_more import MORE

#: The packages that must work (distribution name -> source).
REQUIRED: dict[str, str] = {
    "numpy": """
import numpy as np
rng = np.random.default_rng(7)
a = rng.random((60, 60))
x = np.linalg.solve(a, np.ones(60))
f = np.fft.fft(a[0]).real
d = np.array(["2024-02-29", "NaT"], "M8[D]")
s = np.sort(rng.integers(0, 1000, 500))
rec = np.zeros(3, [("a", "i4"), ("b", "f8")]); rec["b"] = 1.5
result = (np.round(a @ x, 6).sum(), round(float(f.sum()), 6), str(d), s[::50].tolist(),
          rec.tobytes().hex(), np.einsum("ij,ij", a, a).round(6))
""",
    "pandas": """
import pandas as pd, numpy as np
df = pd.DataFrame({"g": list("abcab") * 20, "v": range(100),
                   "t": pd.date_range("2024-01-01", periods=100, freq="h")})
m = df.groupby("g").v.agg(["sum", "mean"])
j = df.merge(m.reset_index(), on="g").set_index("t").resample("D").v.sum()
import io
text = df.to_csv(index=False); back = pd.read_csv(io.StringIO(text), parse_dates=["t"])
result = (m.to_dict(), j.tolist(), back.equals(df), df.v.rolling(3).mean().sum())
""",
    "scipy": """
import numpy as np
from scipy import integrate, linalg, optimize, signal, sparse, spatial, special, stats
from scipy.sparse.linalg import spsolve
a = np.vander(np.linspace(1, 2, 6))
m = optimize.minimize(lambda v: (v[0] - 3) ** 2 + (v[1] + 1) ** 2, [0, 0])
q, _ = integrate.quad(lambda x: np.exp(-x * x), 0, 5)
sp = spsolve(sparse.csc_matrix(np.eye(4) * 2), np.ones(4))
hull = spatial.ConvexHull(np.random.default_rng(0).random((30, 2)))
result = (round(linalg.det(a), 8), np.round(m.x, 3).tolist(), round(q, 8), sp.tolist(),
          round(hull.volume, 8), round(float(special.gamma(4.5)), 8),
          round(float(stats.norm.cdf(1.0)), 8),
          np.round(signal.butter(3, 0.2)[0], 8).tolist())
""",
    "scikit-learn": """
import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC
X, y = make_classification(200, 8, random_state=0)
f = RandomForestClassifier(20, random_state=0).fit(X, y)
result = (f.score(X, y), cross_val_score(LogisticRegression(), X, y).round(6).tolist(),
          SVC().fit(X, y).score(X, y),
          round(float(KMeans(3, n_init=2, random_state=0).fit(X).inertia_), 4))
""",
    "matplotlib": """
import matplotlib; matplotlib.use("Agg")
import matplotlib.pyplot as plt, io, hashlib
fig, ax = plt.subplots(figsize=(3, 2)); ax.plot([1, 3, 2]); ax.set_title("title")
ax.contourf([[1, 2], [3, 4]])
b = io.BytesIO(); fig.savefig(b, format="png", metadata={"Software": None}); plt.close(fig)
result = hashlib.sha256(b.getvalue()).hexdigest()
""",
    "lxml": """
from lxml import etree, html
root = etree.fromstring("<a>" + "".join(f"<b i='{i}'>x{i}</b>" for i in range(200)) + "</a>")
xslt = etree.XSLT(etree.XML('''<xsl:stylesheet version="1.0"
 xmlns:xsl="http://www.w3.org/1999/XSL/Transform"><xsl:template match="/">
 <n><xsl:value-of select="count(//b)"/></n></xsl:template></xsl:stylesheet>'''))
h = html.fromstring("<p>one<br>two <a href='x'>y</a>")
try:
    etree.fromstring("<a><b></a>"); bad = None
except etree.XMLSyntaxError as e:
    bad = e.msg
result = (sum(int(x) for x in root.xpath("//b/@i")), str(xslt(root)), h.text_content(),
          bad, len(etree.tostring(root)))
""",
    "pillow": """
import io, hashlib
from PIL import Image, ImageDraw, ImageFilter, ImageFont
im = Image.new("RGB", (64, 48), "white"); d = ImageDraw.Draw(im)
d.ellipse((5, 5, 40, 40), fill="red"); d.text((3, 3), "hi", fill="blue")
im = im.filter(ImageFilter.GaussianBlur(2)).resize((32, 24)).rotate(30)
out = {}
for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF"):
    b = io.BytesIO(); im.save(b, kind); out[kind] = Image.open(io.BytesIO(b.getvalue())).size
result = (hashlib.sha256(im.tobytes()).hexdigest(), out)
""",
    "cryptography": """
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa, padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
k = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
sig = k.sign(b"m"); k.public_key().verify(sig, b"m")
kdf = PBKDF2HMAC(hashes.SHA256(), 32, b"salt", 1000).derive(b"pw")
r = rsa.generate_private_key(65537, 1024 * 2)
c = r.public_key().encrypt(b"hello", padding.PKCS1v15())
f = Fernet(Fernet.generate_key())
result = (sig.hex(), kdf.hex(), r.decrypt(c, padding.PKCS1v15()),
          AESGCM(bytes(16)).encrypt(bytes(12), b"data", None).hex(),
          f.decrypt(f.encrypt(b"x")))
""",
    "bcrypt": """
import bcrypt
h = bcrypt.hashpw(b"pw", b"$2b$04$abcdefghijklmnopqrstuu")
result = (h, bcrypt.checkpw(b"pw", h), bcrypt.kdf(b"a", b"b", 16, 2, ignore_few_rounds=True))
""",
    "pydantic": """
from datetime import datetime, date
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID
from pydantic import BaseModel, Field, ValidationError, field_validator
class Item(BaseModel):
    id: UUID
    price: Decimal = Field(gt=0)
    when: datetime
    kind: Literal["a", "b"] = "a"
    tags: list[Annotated[str, Field(max_length=3)]] = []
    @field_validator("tags")
    @classmethod
    def up(cls, v): return [x.upper() for x in v]
class Box(BaseModel):
    items: dict[str, Item]
i = {"id": "12345678-1234-5678-1234-567812345678", "price": "1.50",
     "when": "2024-02-29T12:00:00Z", "tags": ["ab"]}
b = Box.model_validate({"items": {str(n): i for n in range(50)}})
try:
    Item.model_validate({**i, "price": -1, "tags": ["toolong"]}); e = None
except ValidationError as x:
    e = [(d["loc"], d["type"]) for d in x.errors()]
result = (len(b.model_dump_json()), e, Box.model_validate_json(b.model_dump_json()) == b,
          sorted(Item.model_json_schema()["properties"]))
""",
    "fastapi": """
import asyncio
from fastapi import FastAPI
from pydantic import BaseModel
app = FastAPI()
class In(BaseModel):
    n: int
@app.post("/double/{k}")
async def double(k: int, body: In): return {"v": body.n * 2 + k}
async def call(path, payload):
    sent = []
    async def receive(): return {"type": "http.request", "body": payload, "more_body": False}
    async def send(m): sent.append(m)
    await app({"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1",
               "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
               "root_path": "", "scheme": "http", "server": ("t", 80), "client": ("t", 1),
               "headers": [(b"content-type", b"application/json")]}, receive, send)
    return sent[0]["status"], sent[1]["body"]
async def main():
    return [await call("/double/3", b'{"n": 4}'), await call("/double/x", b'{"n": 4}')]
r = asyncio.run(main())
result = (r[0], r[1][0], sorted(app.openapi()["paths"]))
""",
    "orjson": """
import orjson, datetime, uuid, dataclasses
@dataclasses.dataclass
class D:
    a: int
    b: str
o = {"x": [1, 2.5, None, True, "é"], "d": D(1, "z"), "t": datetime.datetime(2024, 2, 29, 1),
     "u": uuid.UUID(int=5), "l": list(range(100))}
s = orjson.dumps(o, option=orjson.OPT_SORT_KEYS)
try:
    orjson.loads(b"{bad"); e = None
except orjson.JSONDecodeError as x:
    e = x.pos
result = (s, orjson.loads(s)["x"], e)
""",
    "rpds-py": """
import rpds
m = rpds.HashTrieMap({str(i): i for i in range(100)})
l = rpds.List([1, 2, 3]).push_front(0); q = rpds.Queue([1, 2]).enqueue(3)
s = rpds.HashTrieSet("abc") | rpds.HashTrieSet("cd")
result = (sum(m.insert("x", 5).values()), list(l), list(q), sorted(s), len(m.remove("7")))
""",
    "uvloop": """
import asyncio, uvloop
async def handle(r, w):
    d = await r.readexactly(5); w.write(d[::-1]); await w.drain(); w.close()
async def main():
    s = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = s.sockets[0].getsockname()[1]
    async def one():
        r, w = await asyncio.open_connection("127.0.0.1", port)
        w.write(b"hello"); d = await r.read(); w.close(); return d
    out = await asyncio.gather(*[one() for _ in range(10)])
    s.close()
    return out, await asyncio.get_running_loop().run_in_executor(None, lambda: 7)
result = uvloop.run(main())
""",
    "httptools": """
import httptools
class P:
    def __init__(self): self.got = []
    def on_url(self, u): self.got.append(u)
    def on_header(self, k, v): self.got.append((k, v))
    def on_body(self, b): self.got.append(b)
p = P(); r = httptools.HttpRequestParser(p)
r.feed_data(b"POST /a?b=1 HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 3\\r\\n\\r\\nabc")
u = httptools.parse_url(b"http://u:1@h:80/p?q#f")
result = (p.got, r.get_method(), u.host, u.port, u.query)
""",
    "aiohttp": """
import asyncio
from aiohttp import web, ClientSession
async def hello(request):
    return web.json_response({"n": int(request.match_info["n"]) + 1,
                              "q": dict(request.query)})
async def main():
    app = web.Application(); app.router.add_get("/{n}", hello)
    runner = web.AppRunner(app); await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0); await site.start()
    port = site._server.sockets[0].getsockname()[1]
    async with ClientSession() as s:
        async def one(i):
            async with s.get(f"http://127.0.0.1:{port}/{i}?a=b") as r: return await r.json()
        out = await asyncio.gather(*[one(i) for i in range(8)])
    await runner.cleanup()
    return out
result = asyncio.run(main())
""",
    "msgpack": """
import msgpack, datetime
from msgpack import _cmsgpack
o = {"a": [1, -2, 2**63, 1.5, None, True, b"x", "y"] * 20}
p = msgpack.packb(o); t = msgpack.packb(datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc), datetime=True)
u = msgpack.Unpacker(); u.feed(p * 3)
result = (msgpack.unpackb(p) == o, len(list(u)), str(msgpack.unpackb(t, timestamp=3)))
""",
    "PyYAML": """
import yaml
assert yaml.__with_libyaml__
text = "a: [1, 2.5, null, ~, yes]\\nb: &x {c: 2024-02-29}\\nd: *x\\n"
o = yaml.load(text, Loader=yaml.CSafeLoader)
try:
    yaml.load("a: [", Loader=yaml.CSafeLoader); e = None
except yaml.YAMLError as x:
    e = type(x).__name__
result = (str(o), yaml.dump(o, Dumper=yaml.CSafeDumper), e)
""",
    "cffi": """
import cffi, threading
ffi = cffi.FFI()
ffi.cdef("int abs(int); double sqrt(double); void qsort(void*, size_t, size_t, "
         "int(*)(const void*, const void*)); typedef struct { int a; double b; } S;"
         "int pthread_create(unsigned long*, void*, void*(*)(void*), void*);"
         "int pthread_join(unsigned long, void**);")
C = ffi.dlopen(None); M = ffi.dlopen("libm.so.6")
@ffi.callback("int(const void*, const void*)")
def cmp(a, b): return ffi.cast("int*", a)[0] - ffi.cast("int*", b)[0]
arr = ffi.new("int[]", [5, 3, 9, 1]); C.qsort(arr, 4, 4, cmp)
s = ffi.new("S*", {"a": 3, "b": 2.5})
out = []
t = threading.Thread(target=lambda: out.append(C.abs(-4))); t.start(); t.join()
seen = []
@ffi.callback("void*(void*)")
def entry(p):
    seen.append(threading.get_ident() == threading.main_thread().ident)
    return p
thread = ffi.new("unsigned long*")
for _ in range(2):
    C.pthread_create(thread, ffi.NULL, entry, ffi.NULL)
    C.pthread_join(thread[0], ffi.NULL)
result = (list(arr), M.sqrt(16.0), s.a + s.b, out, seen, ffi.sizeof("S"))
""",
    "psycopg2-binary": """
import psycopg2, psycopg2.extensions, psycopg2.extras
from psycopg2.extensions import adapt, AsIs, QuotedString
try:
    psycopg2.connect("host=127.0.0.1 port=1 connect_timeout=1"); e = None
except psycopg2.OperationalError as x:
    e = "refused" in str(x)
import datetime
result = (adapt([1, 2.5, None]).getquoted(), adapt(datetime.date(2024, 2, 29)).getquoted(), e,
          psycopg2.extensions.parse_dsn("dbname=x host=y"),
          psycopg2.extensions.new_type((99,), "T", lambda v, c: v).name)
""",
    "sqlalchemy": """
from sqlalchemy import create_engine, select, func, String, ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, Session
import sqlalchemy.engine._processors_cy, sqlalchemy.util._has_cython as hc
class Base(DeclarativeBase): pass
class U(Base):
    __tablename__ = "u"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(9))
    xs: Mapped[list["X"]] = relationship()
class X(Base):
    __tablename__ = "x"
    id: Mapped[int] = mapped_column(primary_key=True)
    u: Mapped[int] = mapped_column(ForeignKey("u.id"))
e = create_engine("sqlite://"); Base.metadata.create_all(e)
with Session(e) as s:
    s.add_all([U(name=f"n{i}", xs=[X(), X()]) for i in range(20)]); s.commit()
    n = s.scalar(select(func.count()).select_from(X))
    names = s.scalars(select(U.name).order_by(U.id)).all()
import asyncio
from sqlalchemy.util import greenlet_spawn
async def main(): return await greenlet_spawn(lambda: 5)
result = (n, names[-1], asyncio.run(main()), bool(hc.HAS_CYEXTENSION))
e.dispose()
""",
    "regex": """
import regex
m = regex.findall(r"\\p{L}+(?=\\d)", "ab1 cd é9 ef2" * 30)
f = regex.search(r"(?:hello){e<=2}", "xxhelozz")
result = (len(m), f.span(), regex.sub(r"(?<a>\\w)(?<b>\\w)", r"\\g<b>\\g<a>", "abcd"),
          regex.split(r"(?V1)(?=b)", "abab"))
""",
    "ujson": """
import ujson
o = {"a": [1, 2.5, None, True, "é\\n"], "b": {"c": list(range(50))}}
s = ujson.dumps(o, sort_keys=True)
try:
    ujson.loads("{"); e = None
except ValueError as x:
    e = str(x)
result = (s, ujson.loads(s) == o, e)
""",
    "greenlet": """
import greenlet, threading
def gen(n):
    total = 0
    def body(start):
        x = start
        while True: x = main.switch(x * 2)
    main = greenlet.getcurrent(); g = greenlet.greenlet(body)
    for i in range(n): total += g.switch(i)
    return total
out = []
def work():
    out.append(gen(50))
    g = greenlet.greenlet(lambda: greenlet.getcurrent().parent.switch(1)); g.switch()
    keep.append(g)
keep = []
for _ in range(5):
    t = threading.Thread(target=work); t.start(); t.join()
del keep[:]
def boom(): raise KeyError("x")
try:
    greenlet.greenlet(boom).switch(); e = None
except KeyError as x:
    e = repr(x)
result = (gen(100), out, e)
""",
    "gevent": """
import gevent, gevent.pool, gevent.event, gevent.queue, gevent.socket
from gevent.server import StreamServer
q = gevent.queue.Queue(); ev = gevent.event.Event()
def prod():
    for i in range(20): q.put(i); gevent.sleep(0)
    ev.set()
p = gevent.pool.Pool(4); g = gevent.spawn(prod); r = p.map(lambda x: x * x, range(10)); g.join()
def handle(s, a): s.sendall(s.recv(5)[::-1])
srv = StreamServer(("127.0.0.1", 0), handle); srv.start()
c = gevent.socket.create_connection(("127.0.0.1", srv.server_port)); c.sendall(b"hello")
d = c.recv(5); c.close(); srv.stop()
tp = gevent.get_hub().threadpool.apply(lambda: 6 * 7)
result = (r, q.qsize(), ev.is_set(), d, tp)
gevent.get_hub().threadpool.kill()
""",
    "psutil": """
import psutil, os
p = psutil.Process()
result = (p.pid == os.getpid(), p.memory_info().rss > 0, psutil.cpu_count() > 0,
          psutil.virtual_memory().total > 0, len(p.open_files()) >= 0,
          p.cpu_times().user >= 0, psutil.pid_exists(os.getpid()))
""",
    "jinja2": """
import jinja2, markupsafe
t = jinja2.Template("{% for i in x %}{{ i|e }},{% endfor %}", autoescape=True)
result = (t.render(x=["<a>", 2, markupsafe.Markup("<b>")]), markupsafe.escape("<&>"),
          markupsafe._speedups.__name__ if hasattr(markupsafe, "_speedups") else None)
""",
    "zstandard": """
import zstandard as z
d = bytes(range(256)) * 400
c = z.ZstdCompressor(level=5).compress(d)
dic = z.train_dictionary(1024, [b"abcdefgh%d" % i * 9 for i in range(200)])
s = z.ZstdDecompressor().stream_reader(c).read()
result = (s == d, len(c) < len(d), len(dic.as_bytes()) > 0)
""",
    "msgspec": """
import msgspec, datetime
class U(msgspec.Struct):
    name: str
    when: datetime.datetime
    tags: set[int] = set()
b = b'{"name":"x","when":"2024-02-29T00:00:00Z","tags":[1,2]}'
u = msgspec.json.decode(b, type=U)
try:
    msgspec.json.decode(b'{"name":1}', type=U); e = None
except msgspec.ValidationError as x:
    e = str(x)
p = msgspec.msgpack.encode([U("a", u.when)] * 30)
result = (u, e, len(p), msgspec.msgpack.decode(p, type=list[U])[3].name,
          msgspec.convert({"name": "q", "when": u.when}, U).name)
""",
    "protobuf": """
from google.protobuf import descriptor_pb2, json_format, struct_pb2, timestamp_pb2
from google.protobuf.internal import api_implementation
f = descriptor_pb2.FileDescriptorProto(name="a.proto", package="p")
m = f.message_type.add(name="M"); m.field.add(name="x", number=1, type=5, label=1)
from google.protobuf import descriptor_pool, message_factory
pool = descriptor_pool.DescriptorPool(); pool.Add(f)
M = message_factory.GetMessageClass(pool.FindMessageTypeByName("p.M"))
s = struct_pb2.Struct(); s.update({"a": [1, "b", None]})
result = (M.FromString(M(x=7).SerializeToString()).x, json_format.MessageToJson(s),
          api_implementation.Type(), f.SerializeToString())
""",
    "tornado": """
import asyncio, tornado.web, tornado.httpserver, tornado.httpclient, tornado.websocket
from tornado.testing import bind_unused_port
from tornado import speedups
class H(tornado.web.RequestHandler):
    def get(self): self.write({"q": self.get_argument("q")})
async def main():
    sock, port = bind_unused_port()
    s = tornado.httpserver.HTTPServer(tornado.web.Application([("/", H)])); s.add_sockets([sock])
    r = await tornado.httpclient.AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/?q=5")
    s.stop(); return r.body
result = (asyncio.run(main()), speedups.websocket_mask(b"abcd", b"hello world"))
""",
    "multidict": """
import multidict
m = multidict.CIMultiDict([("A", "1"), ("a", "2"), ("B", "3")])
m.add("b", "4")
result = (m.getall("A"), list(m.popall("b")), multidict.MultiDictProxy(multidict.MultiDict(a=1))["a"],
          m.copy() == m, multidict.istr("x-Y").title())
""",
}

ALL: dict[str, str] = {**REQUIRED, **MORE}
