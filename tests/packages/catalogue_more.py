"""The larger set of catalogue.py: packages that we chose ourselves, in the same form."""

#: Further packages, chosen for variety of tools and habits.
MORE: dict[str, str] = {
    "apsw": """
import apsw
c = apsw.Connection(":memory:"); c.execute("create table t(a)")
c.create_scalar_function("twice", lambda v: v * 2)
c.executemany("insert into t values(?)", [(i,) for i in range(50)])
result = c.execute("select sum(twice(a)) from t").fetchall()
""",
    "argon2-cffi": """
import argon2.low_level as a
result = a.hash_secret_raw(b"pw", b"saltsalt", 1, 64, 1, 16, a.Type.ID)
""",
    "asyncpg": """
import asyncio, asyncpg, asyncpg.protocol.protocol
async def main():
    try:
        await asyncpg.connect("postgres://u:p@127.0.0.1:1/x", timeout=2)
    except OSError as e:
        return type(e).__name__
result = (asyncio.run(main()), asyncpg.Record.__name__)
""",
    "av": """
import av, numpy as np, io
b = io.BytesIO()
with av.open(b, "w", format="matroska") as c:
    s = c.add_stream("mpeg4", rate=24); s.width = s.height = 64; s.pix_fmt = "yuv420p"
    for i in range(10):
        for p in s.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), i * 20, "uint8"), format="rgb24")): c.mux(p)
    for p in s.encode(): c.mux(p)
b.seek(0)
with av.open(b) as c:
    frames = [f.to_ndarray(format="gray")[5, 5] // 8 for f in c.decode(video=0)]
try:
    av.open(io.BytesIO(b"junk" * 10)); e = None
except av.error.FFmpegError as x:
    e = type(x).__name__
result = ([int(f) for f in frames], e)
""",
    "awscrt": """
import awscrt.io, awscrt.checksums, awscrt.auth, awscrt.http, socket
s = socket.create_server(("127.0.0.1", 0)); port = s.getsockname()[1]; s.close()
g = awscrt.io.EventLoopGroup(1); boot = awscrt.io.ClientBootstrap(g, awscrt.io.DefaultHostResolver(g))
f = awscrt.http.HttpClientConnection.new("127.0.0.1", port, boot)
try:
    f.result(20); e = None
except Exception as x:
    e = x.name
result = (awscrt.checksums.crc32c(b"hello"), e, awscrt.auth.AwsCredentialsProvider.new_static("a", "b").get_credentials().result(20).access_key_id)
""",
    "bitarray": """
from bitarray import bitarray, util
b = bitarray("0110") * 30; b.invert(3)
result = (b.count(), util.ba2hex(b), b.tobytes().hex())
""",
    "blake3": "import blake3; result = blake3.blake3(b'x' * 5000).hexdigest()",
    "blosc2": """
import blosc2, numpy as np
a = blosc2.asarray(np.arange(5000.0)); d = b"abc" * 900
result = (blosc2.decompress(blosc2.compress(d, typesize=1)) == d, float((a * 2).sum()), a[10:13].tolist())
""",
    "Bottleneck": """
import bottleneck as bn, numpy as np
a = np.array([1, np.nan, 3.0, 4]); result = (bn.nansum(a), bn.move_mean(a, 2, 1).tolist()[-1], bn.nanmedian(a))
""",
    "brotli": """
import brotli
d = b"hello world " * 300; c = brotli.compress(d); result = (brotli.decompress(c) == d, len(c))
""",
    "charset-normalizer": """
import charset_normalizer as c
result = str(c.from_bytes("héllo wörld, ça va très bien aujourd'hui".encode("cp1252") * 5).best().encoding)
""",
    "confluent-kafka": """
import confluent_kafka as k
p = k.Producer({"bootstrap.servers": "127.0.0.1:1", "log_level": 0})
try:
    k.Producer({"nonsense": 1}); e = None
except k.KafkaException as x:
    e = x.args[0].code()
result = (e, k.libversion()[0])
del p
""",
    "contourpy": """
import contourpy, numpy as np
z = np.add.outer(np.arange(10), np.arange(10)).astype(float)
result = [l.shape for l in contourpy.contour_generator(z=z).lines(5.5)]
""",
    "coverage": """
import coverage.tracer, coverage
result = coverage.tracer.CTracer.__name__
""",
    "cramjam": """
import cramjam
d = b"abc" * 500
result = [bytes(getattr(cramjam, m).decompress(getattr(cramjam, m).compress(d))) == d for m in ("snappy", "gzip", "zstd", "lz4", "brotli")]
""",
    "crc32c": "import crc32c; result = crc32c.crc32c(b'hello' * 100)",
    "Cython": """
import Cython.Compiler.Scanning, Cython
from Cython.Compiler.Main import CompilationOptions
result = Cython.Compiler.Scanning.__file__.endswith(".so") or Cython.__version__
""",
    "cytoolz": """
import cytoolz as t
result = (t.groupby(lambda x: x % 3, range(20)), list(t.sliding_window(2, range(5))), t.pipe(3, lambda x: x + 1))
""",
    "dm-tree": "import tree; result = (tree.flatten({'a': [1, 2], 'b': (3, {'c': 4})}), tree.map_structure(lambda x: x * 2, [1, (2,)]))",
    "duckdb": """
import duckdb
c = duckdb.connect()
c.execute("create table t as select range as i, range * 2 as j from range(1000)")
result = (c.execute("select sum(i), max(j), avg(i) from t where i % 3 = 0").fetchall(),
          c.execute("select list(i) from (select i from t limit 5)").fetchone())
c.close()
""",
    "faiss-cpu": """
import faiss, numpy as np
rng = np.random.default_rng(0); a = rng.random((1000, 16), dtype=np.float32)
index = faiss.IndexFlatL2(16); index.add(a)
result = (index.ntotal, index.search(a[:5], 3)[1].tolist())
""",
    "fastparquet": """
import fastparquet.cencoding, fastparquet.speedups
import pandas as pd, tempfile, os
d = tempfile.mkdtemp(); p = os.path.join(d, "x.parq")
fastparquet.write(p, pd.DataFrame({"a": range(50), "b": [float(i) for i in range(50)]}))
result = fastparquet.ParquetFile(p).to_pandas().b.sum(); os.remove(p); os.rmdir(d)
""",
    "frozenlist": "import frozenlist; f = frozenlist.FrozenList([1, 2]); f.freeze(); result = (list(f), hash(f) == hash(f), frozenlist.FrozenList.__module__)",
    "gmpy2": """
import gmpy2
result = (str(gmpy2.mpz(3) ** 200), gmpy2.is_prime(2**61 - 1), str(gmpy2.sqrt(gmpy2.mpfr(2))), str(gmpy2.mpq(1, 3) + 1))
""",
    "grpcio": """
import grpc, socket
s = socket.create_server(("127.0.0.1", 0)); port = s.getsockname()[1]; s.close()
out = []
with grpc.insecure_channel(f"127.0.0.1:{port}") as ch:
    f = ch.unary_unary("/a/b")
    for i in range(3):
        try:
            f(b"hello", timeout=20)
        except grpc.RpcError as e:
            out.append(e.code().name)
result = (out, grpc.StatusCode.OK.value[1])
""",
    "h5py": """
import h5py, io, numpy as np
with h5py.File(io.BytesIO(), "w") as f:
    d = f.create_dataset("g/d", data=np.arange(100.0).reshape(10, 10), compression="gzip")
    d.attrs["u"] = "m"; result = (float(d[2:4].sum()), d.attrs["u"], list(f["g"]))
""",
    "hiredis": """
import hiredis
r = hiredis.Reader(); r.feed(b"*3\\r\\n$3\\r\\nfoo\\r\\n:42\\r\\n+OK\\r\\n"); result = (r.gets(), hiredis.pack_command(("GET", "x")))
""",
    "igraph": """
import igraph, random
random.seed(3)
g = igraph.Graph.Erdos_Renyi(n=50, m=120); k = igraph.Graph.Famous("Zachary")
try:
    k.vs[1000]; e = None
except IndexError as x:
    e = str(x)
result = (g.vcount(), k.diameter(), round(k.modularity(k.community_fastgreedy().as_clustering()), 4), k.shortest_paths(0, 33) if hasattr(k, "shortest_paths") else k.distances(0, 33), e)
""",
    "ijson": """
import ijson.backends.yajl2_c as j
result = list(j.items(b'{"a": [1, 2, {"b": 3}]}', "a.item"))
""",
    "imagecodecs": """
import imagecodecs as i, numpy as np
a = (np.arange(64 * 64) % 251).astype("uint8").reshape(64, 64)
result = [bool((getattr(i, n + "_decode")(getattr(i, n + "_encode")(a)) == a).all()) for n in ("png", "webp", "jpegls", "jpeg2k") if n != "webp"]
result += [i.zstd_decode(i.zstd_encode(b"abc" * 50)) == b"abc" * 50, i.lzw_decode(i.lzw_encode(b"abcabc")), i.jpeg8_decode(i.jpeg8_encode(a)).shape]
try:
    i.png_decode(b"junk")
except Exception as e:
    result.append(type(e).__name__)
""",
    "immutables": "import immutables; m = immutables.Map(a=1).set('b', 2); result = (sorted(m.items()), m.delete('a').get('a'))",
    "jax": """
import jax, jax.numpy as jnp
f = jax.jit(lambda x: (x * x).sum()); g = jax.grad(lambda x: (x ** 3).sum())
result = (float(f(jnp.arange(100.0))), g(jnp.arange(4.0)).tolist())
""",
    "jiter": 'import jiter; result = jiter.from_json(b\'{"a": [1, 2.5, null, "\\xc3\\xa9"]}\')',
    "kiwisolver": """
import kiwisolver as k
x, y, s = k.Variable("x"), k.Variable("y"), k.Solver()
s.addConstraint(x + y == 10); s.addConstraint(x - y == 2); s.updateVariables(); result = (x.value(), y.value())
""",
    "lightgbm": """
import lightgbm, numpy as np
rng = np.random.default_rng(0); x = rng.normal(size=(500, 5)); y = (x[:, 0] > 0).astype(int)
m = lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 2}, lightgbm.Dataset(x, y), 5)
result = float(m.predict(x).sum().round(6))
""",
    "llvmlite": """
import llvmlite.ir as ir, llvmlite.binding as b
m = ir.Module("m"); i = ir.IntType(32); f = ir.Function(m, ir.FunctionType(i, [i]), "f")
bd = ir.IRBuilder(f.append_basic_block()); bd.ret(bd.add(f.args[0], i(5)))
result = b.parse_assembly(str(m)).name
""",
    "lupa": """
import lupa
l = lupa.LuaRuntime(unpack_returned_tuples=True)
f = l.eval("function(f, n) local s = 0 for i = 1, n do s = s + f(i) end return s, n end")
try:
    l.execute("error('oops')"); e = None
except lupa.LuaError as x:
    e = "oops" in str(x)
result = (f(lambda x: x * 2, 50), list(l.table(1, 2, 3).values()), e)
""",
    "lz4": "import lz4.frame, lz4.block; d = b'abc' * 900; result = (lz4.frame.decompress(lz4.frame.compress(d)) == d, lz4.block.decompress(lz4.block.compress(d)) == d)",
    "mapbox_earcut": """
import mapbox_earcut, numpy as np
square = np.array([[0, 0], [4, 0], [4, 4], [0, 4], [1, 1], [3, 1], [3, 3], [1, 3]], "f8")
triangles = mapbox_earcut.triangulate_float64(square, np.array([4, 8], "u4"))
try:
    mapbox_earcut.triangulate_float64(square, np.array([4], "u4")); e = None
except ValueError as x:
    e = str(x)
result = (triangles.tolist(), str(triangles.dtype), e)
""",
    "MarkupSafe": "import markupsafe; from markupsafe import _speedups; result = str(markupsafe.escape('<a>&'))",
    "ml_dtypes": "import ml_dtypes, numpy as np; result = np.array([1.5, 2.25], ml_dtypes.bfloat16).astype('f4').tolist()",
    "mmh3": "import mmh3; result = (mmh3.hash('foo'), mmh3.hash128(b'x' * 99))",
    "mypy": """
import mypy.api, mypy.nodes
result = (mypy.api.run(["-c", "x: int = 'a'", "--cache-dir=/dev/null"])[2], mypy.nodes.__file__.endswith(".so"))
""",
    "ndindex": "import ndindex; result = repr(ndindex.Slice(1, 10, 2).reduce(20))",
    "netCDF4": """
import netCDF4, numpy as np, tempfile, os
d = tempfile.mkdtemp(); p = os.path.join(d, "x.nc")
with netCDF4.Dataset(p, "w") as f:
    f.createDimension("t", None); f.createDimension("x", 4)
    v = f.createVariable("v", "f8", ("t", "x"), zlib=True); v[:] = np.arange(12.0).reshape(3, 4); v.units = "K"
    g = f.createGroup("g"); g.note = "n"
    t = f.createVariable("t", "f8", ("t",)); t.units = "days since 2000-01-01"; t[:] = [0, 1, 2]
with netCDF4.Dataset(p) as f:
    result = (float(f["v"][:].sum()), f["v"].units, f["g"].note, str(netCDF4.num2date(f["t"][1], f["t"].units)), f.dimensions["t"].isunlimited())
try:
    netCDF4.Dataset(p + "none")
except OSError as e:
    result += (e.errno,)
os.remove(p); os.rmdir(d)
""",
    "netifaces2": "import netifaces; result = 'lo' in netifaces.interfaces()",
    "numba": """
import numba, numpy as np
@numba.njit
def f(a):
    s = 0.0
    for x in a: s += x * x
    return s
result = f(np.arange(100.0))
""",
    "numcodecs": """
import numcodecs, numpy as np
a = np.arange(1000, dtype="i4")
result = [bool((np.frombuffer(c.decode(c.encode(a)), "i4") == a).all()) for c in (numcodecs.Blosc("zstd"), numcodecs.LZ4(), numcodecs.Zstd(), numcodecs.Blosc("lz4", shuffle=2))]
result.append(len(numcodecs.VLenUTF8().encode(np.array(["a", "bc"], dtype=object))))
""",
    "numexpr": "import numexpr as ne, numpy as np; a = np.arange(1e5); result = float(ne.evaluate('sum(2*a + sin(a)**2)').round(4))",
    "onnxruntime": """
import numpy as np, onnxruntime
def field(number, data): return bytes([number << 3 | 2, len(data)]) + data
def value(number, value): return bytes([number << 3, value])
def tensor(name): return field(1, name) + field(2, field(1, value(1, 1) + field(2, field(1, value(1, 3)))))
node = field(1, b"x") + field(1, b"x") + field(2, b"y") + field(4, b"Mul")
graph = field(1, node) + field(2, b"squares") + field(11, tensor(b"x")) + field(12, tensor(b"y"))
model = value(1, 8) + field(7, graph) + field(8, value(2, 13))
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
result = session.run(None, {"x": np.arange(3, dtype=np.float32)})[0].tolist()
""",
    "opencv-python-headless": """
import cv2, numpy as np, hashlib
a = np.zeros((60, 80, 3), np.uint8); cv2.circle(a, (30, 30), 20, (0, 255, 0), -1)
b = cv2.GaussianBlur(cv2.cvtColor(a, cv2.COLOR_BGR2GRAY), (5, 5), 0)
result = (cv2.imdecode(cv2.imencode(".png", a)[1], 1).sum() == a.sum(), int(b.sum()), len(cv2.findContours(b, 0, 2)[0]))
""",
    "persistent": """
import persistent
from persistent.mapping import PersistentMapping
class P(persistent.Persistent):
    pass
p = P(); p.x = 1; m = PersistentMapping(a=1)
result = (p._p_changed, p.x, m["a"], persistent.Persistent.__module__)
""",
    "pikepdf": """
import pikepdf, io
p = pikepdf.new(); p.add_blank_page(page_size=(100, 200))
p.pages[0].obj["/Note"] = pikepdf.String("hi"); p.Root["/X"] = pikepdf.Array([1, 2.5, pikepdf.Name("/A")])
b = io.BytesIO(); p.save(b); q = pikepdf.open(io.BytesIO(b.getvalue()))
try:
    pikepdf.open(io.BytesIO(b"junk")); e = None
except pikepdf.PdfError as x:
    e = type(x).__name__
result = (len(q.pages), str(q.pages[0].obj["/Note"]), [str(v) for v in q.pages[0].mediabox], repr(q.Root["/X"]), e)
""",
    "polars": """
import polars as pl
df = pl.DataFrame({"g": ["a", "b"] * 50, "v": range(100)})
result = (df.group_by("g").agg(pl.col("v").sum()).sort("g").rows(), df.lazy().filter(pl.col("v") > 90).collect().height,
          df.select(pl.col("v").map_elements(lambda x: x + 1, return_dtype=pl.Int64).sum()).item())
""",
    "propcache": "from propcache import cached_property\nclass A:\n    @cached_property\n    def x(self): return 5\nresult = (A().x, cached_property.__module__)",
    "psycopg-binary": "import psycopg, psycopg_binary\nfrom psycopg import sql\ntry:\n    psycopg.connect('host=127.0.0.1 port=1 connect_timeout=1')\nexcept psycopg.OperationalError as e:\n    r = type(e).__name__\nresult = (r, psycopg.pq.__impl__)",
    "pyarrow": """
import pyarrow as pa, pyarrow.compute as pc, pyarrow.parquet as pq, io
t = pa.table({"a": list(range(1000)), "s": [str(i % 7) for i in range(1000)]})
b = io.BytesIO(); pq.write_table(t, b); b.seek(0); r = pq.read_table(b)
result = (r.equals(t), pc.sum(t["a"]).as_py(), t.group_by("s").aggregate([("a", "sum")]).num_rows,
          pa.array([1, None, 3]).to_pandas().tolist()[2])
""",
    "pycryptodome": """
from Crypto.Cipher import AES
from Crypto.Hash import SHA256
c = AES.new(bytes(16), AES.MODE_GCM, nonce=bytes(12)); result = (c.encrypt_and_digest(b"data"), SHA256.new(b"x").hexdigest())
""",
    "pycurl": """
import pycurl, io, http.server, threading
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "5"); self.end_headers(); self.wfile.write(b"hello")
    def log_message(self, *a): pass
s = http.server.HTTPServer(("127.0.0.1", 0), H); t = threading.Thread(target=s.serve_forever); t.start()
b = io.BytesIO(); heads = []; c = pycurl.Curl(); c.setopt(c.URL, f"http://127.0.0.1:{s.server_port}/"); c.setopt(c.PROXY, "")
c.setopt(c.WRITEDATA, b); c.setopt(c.HEADERFUNCTION, heads.append); c.perform(); code = c.getinfo(c.RESPONSE_CODE)
try:
    c.setopt(c.URL, "http://127.0.0.1:1/"); c.perform(); e = None
except pycurl.error as x:
    e = x.args[0]
c.close(); s.shutdown(); t.join(); s.server_close(); result = (b.getvalue(), code, len(heads) > 1, e)
""",
    "pygit2": """
import pygit2, tempfile, os, shutil
d = tempfile.mkdtemp(); r = pygit2.init_repository(d, True); a = pygit2.Signature("n", "e@x", 0, 0)
blob = r.create_blob(b"hello"); t = r.TreeBuilder(); t.insert("f", blob, 0o100644)
c = r.create_commit("refs/heads/m", a, a, "msg", t.write(), [])
try:
    r["0" * 40]; e = None
except KeyError as x:
    e = "KeyError"
result = (str(c), r[c].message, [x.name for x in r[c].tree], [str(x.id) for x in r.walk(c)] == [str(c)], e); del r; shutil.rmtree(d)
""",
    "pymongo": """
import bson, pymongo
from bson import _cbson
d = {"a": [1, 2.5, "x"], "b": {"c": None}, "d": 2 ** 40}
result = (bson.decode(bson.encode(d)) == d, bson.has_c(), pymongo.has_c())
""",
    "pymunk": """
import pymunk
s = pymunk.Space(); s.gravity = 0, -10; b = pymunk.Body(1, 1); b.position = 0, 20; c = pymunk.Circle(b, 1); s.add(b, c)
f = pymunk.Segment(s.static_body, (-50, 0), (50, 0), 1); s.add(f); hits = []
s.on_collision(None, None, begin=lambda a, s, d: hits.append(1))
for _ in range(300): s.step(0.02)
result = (round(b.position.y, 3), len(hits) > 0, len(s.point_query((0, 2), 5, pymunk.ShapeFilter())))
""",
    "PyMuPDF": """
import pymupdf
d = pymupdf.open(); p = d.new_page(width=200, height=300); p.insert_text((20, 40), "Hello PDF"); p.draw_rect((10, 10, 50, 60))
b = d.tobytes(); q = pymupdf.open("pdf", b)
pix = q[0].get_pixmap()
try:
    pymupdf.open("pdf", b"")
    e = None
except Exception as x:
    e = type(x).__name__
result = (q.page_count, q[0].get_text().strip(), (pix.width, pix.height), sum(pix.samples) % 100007, e, [tuple(r) for r in q[0].search_for("PDF")])
""",
    "PyNaCl": "import nacl.secret, nacl.signing; k = nacl.signing.SigningKey(bytes(32)); b = nacl.secret.SecretBox(bytes(32)); result = (k.sign(b'm').hex(), b.decrypt(b.encrypt(b'x', bytes(24))))",
    "pyproj": "import pyproj; t = pyproj.Transformer.from_crs(4326, 3857, always_xy=True); result = [round(v, 3) for v in t.transform(12, 55)]",
    "pyroaring": """
from pyroaring import BitMap; a = BitMap(range(0, 9999, 3)); b = BitMap(range(0, 9999, 5))
result = (len(a & b), len(a | b), a.rank(500), BitMap.deserialize(a.serialize()) == a)
""",
    "pyrsistent": "import pyrsistent; result = list(pyrsistent.pvector([1, 2]).append(3))",
    "pysam": """
import pysam, tempfile, os
d = tempfile.mkdtemp(); p = os.path.join(d, "x.bam")
h = {"HD": {"VN": "1.0", "SO": "coordinate"}, "SQ": [{"LN": 1000, "SN": "c1"}]}
with pysam.AlignmentFile(p, "wb", header=h) as f:
    for i in range(20):
        r = pysam.AlignedSegment(); r.query_name = f"r{i}"; r.query_sequence = "ACGTA"; r.flag = 0
        r.reference_id = 0; r.reference_start = i * 10; r.mapping_quality = 20; r.cigar = [(0, 5)]
        r.query_qualities = pysam.qualitystring_to_array("<<<<<"); f.write(r)
pysam.index(p)
with pysam.AlignmentFile(p) as f:
    got = [r.query_name for r in f.fetch("c1", 50, 90)]
    cov = sum(c.n for c in f.pileup("c1", 0, 100))
for n in os.listdir(d): os.remove(os.path.join(d, n))
os.rmdir(d); result = (got, cov)
""",
    "python-rapidjson": "import rapidjson; result = (rapidjson.dumps({'a': [1, 2.5, None]}), rapidjson.loads('[1,{\"b\":2}]'))",
    "PyWavelets": "import pywt, numpy as np; result = [round(float(x.sum()), 6) for x in pywt.wavedec(np.arange(64.0), 'db2')]",
    "pyzmq": """
import zmq, threading
c = zmq.Context(); a = c.socket(zmq.PAIR); port = a.bind_to_random_port("tcp://127.0.0.1")
b = c.socket(zmq.PAIR); b.connect(f"tcp://127.0.0.1:{port}")
out = []
def echo():
    for _ in range(20): b.send(b.recv()[::-1])
t = threading.Thread(target=echo); t.start()
for i in range(20): a.send(b"msg%d" % i); out.append(a.recv())
t.join(); a.close(); b.close(); c.term(); result = out[-1]
""",
    "RapidFuzz": "from rapidfuzz import fuzz, process, distance; result = (fuzz.ratio('this is', 'that is'), process.extractOne('appl', ['apple', 'pear'])[0], distance.Levenshtein.distance('kitten', 'sitting'))",
    "rasterio": """
import numpy as np, rasterio
from rasterio.io import MemoryFile
from rasterio.transform import from_origin
from rasterio import features, warp
a = np.arange(100, dtype="uint8").reshape(10, 10)
with MemoryFile() as m:
    with m.open(driver="GTiff", height=10, width=10, count=1, dtype="uint8", crs="EPSG:4326", transform=from_origin(0, 10, 1, 1)) as d:
        d.write(a, 1)
    with m.open() as d:
        s = int(d.read(1).sum()); b = tuple(d.bounds); c = d.crs.to_epsg()
try:
    rasterio.open("/nowhere.tif"); e = None
except rasterio.errors.RasterioIOError as x:
    e = str(x)
shapes = [v for _, v in features.shapes((a > 50).astype("uint8"))]
result = (s, b, c, e, shapes, [round(v[0], 2) for v in warp.transform("EPSG:4326", "EPSG:3857", [12], [55])])
""",
    "Rtree": """
from rtree import index
i = index.Index(); [i.insert(k, (k, k, k + 1, k + 1), obj={'k': k}) for k in range(200)]
result = (sorted(i.intersection((3, 3, 6, 6))), [n.object for n in i.nearest((50, 50, 50, 50), 1, objects=True)][:1], i.get_bounds())
""",
    "safetensors": "import safetensors.numpy as s, numpy as np; result = s.load(s.save({'a': np.arange(5)}))['a'].tolist()",
    "scikit-image": """
import numpy as np
from skimage import filters, measure, transform, morphology
a = np.zeros((40, 40)); a[10:20, 10:30] = 1
result = (round(float(filters.gaussian(a, 2).sum()), 4), measure.label(a).max(), transform.resize(a, (20, 20)).shape,
          int(morphology.skeletonize(a > 0).sum()))
""",
    "selectolax": "from selectolax.lexbor import LexborHTMLParser as P; result = [n.text() for n in P('<p>a</p><p>b<b>c</b></p>').css('p')]",
    "sentencepiece": """
import io, sentencepiece as sp
model = io.BytesIO()
lines = ["hello world", "hello there, all of you", "the world is round"] * 20
sp.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, vocab_size=40,
                              hard_vocab_limit=False, minloglevel=2, num_threads=1)
p = sp.SentencePieceProcessor(model_proto=model.getvalue())
ids = p.encode("hello world")
try:
    p.id_to_piece(10**6); e = None
except IndexError as x:
    e = type(x).__name__
result = (ids, p.decode(ids), p.encode("the round", out_type=str), p.get_piece_size(), e)
""",
    "setproctitle": "import setproctitle; result = isinstance(setproctitle.getproctitle(), str)",
    "shapely": "import shapely; a = shapely.Point(0, 0).buffer(2); result = (round(a.intersection(shapely.box(0, 0, 3, 3)).area, 6), shapely.from_wkt('POINT (1 2)').x, len(shapely.STRtree([a]).query(shapely.Point(1, 1))))",
    "simplejson": "import simplejson, simplejson._speedups; result = (simplejson.dumps({'a': [1, 2.5]}), simplejson.loads('[1.5]', use_decimal=True))",
    "soundfile": """
import soundfile, numpy as np, io
b = io.BytesIO(); soundfile.write(b, np.sin(np.arange(800) / 9), 8000, format="FLAC"); b.seek(0)
a, r = soundfile.read(b)
try:
    soundfile.read(io.BytesIO(b"junk")); e = None
except Exception as x:
    e = type(x).__name__
result = (r, a.shape, round(float(abs(a).sum()), 3), e, soundfile.__libsndfile_version__)
""",
    "spacy": """
import spacy
from spacy.matcher import Matcher, PhraseMatcher
nlp = spacy.blank("en"); nlp.add_pipe("sentencizer")
doc = nlp("Hello big world. The second sentence costs $5, doesn't it?")
m = Matcher(nlp.vocab); m.add("W", [[{"LOWER": "big"}, {"IS_ALPHA": True}]])
t = nlp.add_pipe("textcat"); t.add_label("A"); t.add_label("B")
from spacy.training import Example
ex = [Example.from_dict(nlp.make_doc("good one"), {"cats": {"A": 1, "B": 0}}), Example.from_dict(nlp.make_doc("bad two"), {"cats": {"A": 0, "B": 1}})]
nlp.initialize(lambda: ex); losses = nlp.update(ex)
result = ([x.text for x in doc], len(list(doc.sents)), [(s, e) for _, s, e in m(doc)], sorted(losses), doc.to_bytes() == doc.to_bytes())
""",
    "statsmodels": """
import numpy as np, statsmodels.api as sm
rng = np.random.default_rng(0); x = rng.random((80, 2)); y = x @ [1, 2] + 3 + rng.random(80) * 0.01
result = np.round(sm.OLS(y, sm.add_constant(x)).fit().params, 6).tolist()
""",
    "tiktoken": "import tiktoken; e = tiktoken.Encoding('t', pat_str=r'.', mergeable_ranks={bytes([i]): i for i in range(256)}, special_tokens={}); result = e.encode('hello')",
    "tokenizers": """
from tokenizers import Tokenizer, models, trainers, pre_tokenizers
t = Tokenizer(models.BPE(unk_token="[U]")); t.pre_tokenizer = pre_tokenizers.Whitespace()
t.train_from_iterator(["hello world hello there"] * 5, trainers.BpeTrainer(special_tokens=["[U]"], show_progress=False))
result = t.encode("hello world").tokens
""",
    "tree-sitter": "import tree_sitter; result = (tree_sitter.LANGUAGE_VERSION, tree_sitter.Parser().language is None)",
    "watchfiles": """
import watchfiles, tempfile, os, threading
from watchfiles._rust_notify import RustNotify
d = tempfile.mkdtemp(); w = RustNotify([d], False, False, 0, True, False)
open(os.path.join(d, "f"), "w").close()
r = w.watch(50, 5, 5000, None); w.close(); os.remove(os.path.join(d, "f")); os.rmdir(d)
result = bool(r)
""",
    "websockets": "from websockets.speedups import apply_mask; import websockets; result = apply_mask(b'hello world', b'abcd')",
    "wrapt": """
import wrapt
@wrapt.decorator
def d(f, i, a, k): return f(*a, **k) + 1
@d
def g(x): return x
result = (g(4), wrapt.ObjectProxy([1, 2])[1], wrapt.FunctionWrapper.__module__)
""",
    "xgboost-cpu": """
import numpy as np, xgboost
rng = np.random.default_rng(0); x = rng.normal(size=(500, 5)); y = (x[:, 0] > 0).astype(int)
m = xgboost.train({"objective": "binary:logistic", "nthread": 2}, xgboost.DMatrix(x, y), 5)
result = float(m.predict(xgboost.DMatrix(x)).sum().round(3))
""",
    "xxhash": "import xxhash; result = (xxhash.xxh64(b'x' * 99).hexdigest(), xxhash.xxh3_128_hexdigest(b'y'))",
    "yarl": "import yarl; result = (str(yarl.URL('http://é.x/a b?c=d') / 'e'), yarl.URL('http://h:8/p').port)",
    "zope.interface": """
from zope.interface import Interface, implementer, providedBy
from zope.interface.adapter import AdapterRegistry
class I(Interface): pass
@implementer(I)
class C: pass
r = AdapterRegistry(); r.register([I], I, "", 5); result = (I.providedBy(C()), r.lookup([I], I))
""",
}
