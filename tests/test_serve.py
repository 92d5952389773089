"""The service as a process: its answers, its limits, its end."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from conftest import draw
from hostilefiles import png_of, slow_jpeg
from servicecalls import Served, received
from tellapart import bundle as bundles
from tellapart.predict import Predictor
from tellapart.preprocess import load

pytestmark = pytest.mark.skipif(os.name == "nt", reason="sends signals")

KEY = "a-key-of-the-tests"
NAMES = ("one", "two")


@pytest.fixture(scope="module")
def server(bundle_path: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two models, the usual limits."""
    models = [f"{name}={bundle_path}" for name in NAMES]
    served = Served(tmp_path_factory.mktemp("server"), *models, "--photos", str(photos), "--max-batch", "2")
    yield served
    served.stop()


@pytest.fixture(scope="module")
def tight(bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Small limits and a key."""
    folder = tmp_path_factory.mktemp("tight")
    (folder / "key").write_text(f"{KEY}\n")
    served = Served(
        folder,
        *(str(bundle_path), "--api-key-file", str(folder / "key"), "--max-body", "100kB", "--max-files", "3"),
        *("--max-pixels", "26", "--queue", "4", "--deadline", "8s", "--decode-timeout", "1.5s"),
        *("--receive-timeout", "1s", "--decoders", "1", "--max-batch", "2", "--allow-host", "pictures.example"),
        *("--allow-origin", "https://shop.example"),
    )
    served.client.headers["authorization"] = f"Bearer {KEY}"
    yield served
    served.stop()


@pytest.fixture(scope="module")
def predictor(bundle_path: Path) -> Predictor:
    """The same model, asked directly."""
    return Predictor(bundles.read(bundle_path))


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    """The bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def picture() -> bytes:
    """A JPEG of a circle."""
    return encoded(draw("circles", 900))


def error(answer: httpx.Response, status: int, code: str) -> str:
    """The message of an error, which has the one shape."""
    assert answer.status_code == status, answer.text
    found = answer.json()
    assert set(found) == {"error"}
    assert set(found["error"]) == {"code", "message", "status", "request_id"}
    assert (found["error"]["code"], found["error"]["status"]) == (code, status)
    assert found["error"]["request_id"] == answer.headers["x-request-id"]
    return found["error"]["message"]


def raw_error(answer: bytes) -> tuple[int, str]:
    """Status and code of an error, from bytes."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


# --- answers


def files_of_all_kinds() -> dict[str, bytes]:
    image = draw("squares", 901, (83, 61))
    exif = {n: Image.Exif() for n in range(1, 9)}
    for n, each in exif.items():
        each[0x0112] = n
    return {
        **{f"turned{n}.jpg": encoded(image, exif=each) for n, each in exif.items()},
        "large.jpg": encoded(image.resize((830, 610)), quality=95),
        "grey.jpg": encoded(image.convert("L")),
        "cmyk.jpg": encoded(image.convert("CMYK")),
        "plain.png": encoded(image, "PNG"),
        "palette.png": encoded(image.quantize(16), "PNG"),
        "clear.png": encoded(Image.merge("RGBA", [*image.split(), image.convert("L")]), "PNG"),
        "deep.png": encoded(Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), "PNG"),
        "a.gif": encoded(image, "GIF"),
        "a.webp": encoded(image, "WEBP", lossless=True),
        "a.bmp": encoded(image, "BMP"),
        "a.tiff": encoded(image, "TIFF"),
        "a.avif": encoded(image, "AVIF"),
    }


def test_answers_are_those_of_predict(server: Served, predictor: Predictor) -> None:
    files = files_of_all_kinds()
    answer = server.client.post("/v1/predict", files=[("files", each) for each in files.items()])
    assert answer.status_code == 200
    assert answer.json()["model"] == "one"
    rows = answer.json()["predictions"]
    squares = np.stack([load(data, predictor.preprocess) for data in files.values()])
    expected = predictor.predictions(list(files), squares)
    assert [row["path"] for row in rows] == list(files)
    for row, one in zip(rows, expected, strict=True):
        wanted = one.as_dict()
        assert set(row) == set(wanted)
        assert row["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-5)
        for name in ("path", "label", "unknown", "error", "reason", "label_set"):
            assert row[name] == wanted[name]
        assert row["strangeness"] == pytest.approx(wanted["strangeness"], abs=0.05)


def test_three_kinds_of_bodies_give_the_same(server: Served, picture: bytes) -> None:
    text = base64.b64encode(picture).decode()
    answers = [
        server.predict(picture),
        server.client.post("/v1/predict", content=picture, headers={"content-type": "image/jpeg"}),
        server.client.post("/v1/predict", content=picture),
        server.client.post("/v1/predict", json={"files": [text]}),
        server.client.post("/v1/predict", json={"files": [{"name": "é.jpg", "data": text}]}),
    ]
    rows = [answer.json()["predictions"][0] for answer in answers]
    assert [row.pop("path") for row in rows] == ["0.jpg", "", "", "", "é.jpg"]
    assert all(row == rows[0] for row in rows)


def test_a_broken_file_has_its_error_in_its_row(server: Served, picture: bytes) -> None:
    rows = server.predict(picture, b"<html>", picture[:600]).json()["predictions"]
    assert [row["error"] for row in rows] == [
        None,
        "not a picture: it begins like HTML",
        "truncated: the file ends before the picture does",
    ]
    assert rows[0]["label"] is not None
    assert rows[1]["label"] is None
    assert "HTML" in error(server.predict(b"<html>", b"<html>"), 422, "unreadable")


def test_models_by_name(server: Served, picture: bytes) -> None:
    assert server.predict(picture, params={"model": "two"}).json()["model"] == "two"
    assert "one, two" in error(server.predict(picture, params={"model": "three"}), 404, "unknown_model")
    listed = server.client.get("/v1/models").json()["models"]
    assert [each["name"] for each in listed] == list(NAMES)
    assert server.client.get("/v1/model", params={"model": "two"}).json() == listed[1]


def test_facts_of_a_model(server: Served, bundle_path: Path) -> None:
    import hashlib

    facts = server.client.get("/v1/model").json()
    manifest = bundles.read(bundle_path).manifest
    assert facts["classes"] == ["circles", "squares"]
    assert facts["size_px"] == 32
    assert facts["metrics"]["accuracy"] == manifest["metrics"]["test"]["accuracy"]
    assert facts["metrics"]["accuracy_interval"] == manifest["metrics"]["test"]["accuracy_interval"]
    assert facts["hash"] == hashlib.sha256(bundle_path.read_bytes()).hexdigest()
    assert facts["limits"]["max_body_bytes"] == 32 * 2**20
    assert facts["has_photos"] is True


def test_explanations(server: Served, trained, photos: Path) -> None:
    from tellapart.explain import Explainer

    path = sorted((photos / "circles").iterdir())[0]
    data = path.read_bytes()
    answer = server.client.post("/v1/explain", files=[("files", (path.name, data)), ("files", ("b", b"no"))])
    good, bad = answer.json()["explanations"]
    explainer = Explainer(trained.bundle)
    square = load(data, Predictor(trained.bundle).preprocess)
    heat, embedding = explainer.look(square, trained.classes.index(good["label"]))
    assert (good["heat_map"]["height"], good["heat_map"]["width"]) == heat.shape
    np.testing.assert_allclose(good["heat_map"]["values"], heat, atol=1e-3)
    nearest = explainer.nearest(embedding[None])[0]
    assert [each["content"] for each in good["nearest"]] == [each.content for each in nearest]
    assert all(each["thumbnail"].startswith("data:image/jpeg;base64,") for each in good["nearest"])
    assert good["probability"] == good["prediction"]["probabilities"][good["label"]]
    for name in ("overlay", "picture"):
        shown = Image.open(io.BytesIO(base64.b64decode(good[name].partition(",")[2])))
        assert max(shown.size) == 320
    assert bad["error"].startswith("not a picture")
    assert bad["heat_map"] is None


def test_another_class_is_explained_on_demand(server: Served, picture: bytes) -> None:
    for label in ("circles", "squares"):
        answer = server.client.post("/v1/explain", content=picture, params={"label": label})
        assert answer.json()["explanations"][0]["label"] == label
    answer = server.client.post("/v1/explain", content=picture, params={"label": "dogs"})
    assert "circles, squares" in error(answer, 404, "unknown_label")


def test_many_at_once_go_in_batches(server: Served, picture: bytes) -> None:
    before = server.metric('tellapart_batch_pictures_count{model="one"}')
    assert len(server.predict(*[picture] * 40).json()["predictions"]) == 40
    assert server.metric('tellapart_pictures_total{answer="answered",model="one"}') >= 1
    assert server.metric('tellapart_batch_pictures_count{model="one"}') - before < 40


def test_health_and_metrics(server: Served) -> None:
    assert server.client.get("/livez").json() == {"status": "alive"}
    assert server.client.get("/readyz").json() == {"status": "ready"}
    assert server.client.head("/livez").status_code == 200
    assert server.metric("tellapart_ready") == 1
    assert server.metric('tellapart_requests_total{method="GET",route="/livez",status="200"}') >= 1


# --- safe by default


def test_it_listens_on_this_machine_alone(server: Served, bundle_path: Path, tmp_path: Path) -> None:
    assert server.url.startswith("http://127.0.0.1:")
    assert all("Anyone" not in line.get("message", "") for line in server.log())
    others = {address[4][0] for address in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in others - {"127.0.0.1"}:
        with pytest.raises(OSError):
            socket.create_connection((address, server.port), 2).close()


def test_a_body_over_the_limit_is_refused(tight: Served) -> None:
    assert "100,000" in error(tight.client.post("/v1/predict", content=bytes(100_001)), 413, "body_too_large")
    # Without a length that is announced the bytes are counted.
    answer = tight.client.post("/v1/predict", content=(bytes(10_000) for _ in range(100)))
    error(answer, 413, "body_too_large")
    text = base64.b64encode(bytes(80_000)).decode()
    error(tight.client.post("/v1/predict", json={"files": [text]}), 413, "body_too_large")


def test_parts_and_files_are_counted(tight: Served, picture: bytes) -> None:
    assert tight.predict(*[picture] * 3).status_code == 200
    assert "at most 3" in error(tight.predict(*[picture] * 4), 413, "too_many_parts")
    fields = tight.client.post("/v1/predict", files=[("a", (None, "b"))] * 4)
    error(fields, 413, "too_many_parts")
    error(tight.client.post("/v1/predict", files=[("a", (None, "b" * 2000))]), 413, "too_many_parts")
    error(tight.client.post("/v1/predict", json={"files": ["aaaa"] * 4}), 413, "too_many_files")
    error(tight.client.post("/v1/predict", files=[("photo", ("a", picture))]), 422, "wrong_part")
    error(
        tight.client.post("/v1/predict", content=b"[" + 20_001 * b"[],", headers={"content-type": "application/json"}),
        413,
        "too_many_values",
    )


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"[" * 5000, "not_json"),
        (b"[]", "wrong_json"),
        (b'{"files": []}', "no_pictures"),
        (b'{"files": [1]}', "wrong_json"),
        (b'{"files": ["aaaa"], "more": 1}', "wrong_json"),
        (b'{"files": ["!!!!"]}', "not_base64"),
        (b'{"files": [{"name": 1, "data": "aaaa"}]}', "wrong_json"),
    ],
)
def test_wrong_json_is_told(server: Served, body: bytes, code: str) -> None:
    answer = server.client.post("/v1/predict", content=body, headers={"content-type": "application/json"})
    error(answer, 422, code)


def test_empty_and_broken_bodies_are_told(server: Served) -> None:
    error(server.client.post("/v1/predict"), 422, "no_pictures")
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
        answer = server.client.post("/v1/predict", content=b"--y\r\n\r\n", headers={"content-type": kind})
        error(answer, 422, "not_multipart")


def test_pixels_are_limited_by_the_header(tight: Served) -> None:
    fine = encoded(Image.new("L", (1000, 1000)), "PNG")
    assert tight.client.post("/v1/predict", content=fine).status_code == 200
    large = encoded(Image.new("L", (5100, 5100)), "PNG")
    assert "over the limit" in error(tight.client.post("/v1/predict", content=large), 422, "unreadable")


def test_a_bomb_is_refused(server: Served) -> None:
    assert "over the limit of 120" in error(server.predict(png_of(11_000)), 422, "unreadable")


def test_who_leaves_while_sending_is_no_error(tight: Served, picture: bytes) -> None:
    with tight.connect() as connection:
        told = f"Host: localhost\r\nX-API-Key: {KEY}\r\nContent-Length: {len(picture)}"
        connection.sendall(f"POST /v1/predict HTTP/1.1\r\n{told}\r\n\r\n".encode() + picture[:50])
    (line,) = tight.logged(event="request", error="client_left")
    assert (line["status"], line["bytes"]) == (499, 50)
    assert not [each for each in tight.log() if each["event"] == "error"]
    assert tight.metric("tellapart_receiving_bytes") == 0


def test_a_slow_body_is_cut_off(tight: Served, picture: bytes) -> None:
    start = time.monotonic()
    with tight.connect() as connection:
        connection.sendall(
            f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\nContent-Length: 1000\r\n\r\n".encode()
        )
        answer = b""
        connection.settimeout(0.1)
        while not answer and time.monotonic() - start < 20:  # a byte now and then resets no clock
            connection.sendall(b"x")
            try:
                answer = connection.recv(4096)
            except TimeoutError:
                continue
        connection.settimeout(60)
        answer += received(connection)
    assert raw_error(answer) == (408, "too_slow")
    assert b"connection: close" in answer.lower()
    assert tight.predict(picture).status_code == 200


def test_endless_headers_are_cut_off(server: Served) -> None:
    with server.connect() as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
        answer = b""
        for _ in range(100):
            try:
                connection.sendall(1000 * b"x")
            except OSError:
                break
        answer = connection.recv(4096)
    assert raw_error(answer) == (431, "headers_too_large")


def test_what_is_no_http_is_told(server: Served) -> None:
    assert raw_error(server.send(b"HELLO\r\n\r\n")) == (400, "bad_request")


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "[::1", "a@b"])
def test_other_hosts_are_refused(server: Served, host: str) -> None:
    answer = server.client.get("/v1/model", headers={"host": host})
    assert answer.status_code in {400, 421}
    assert answer.json()["error"]["code"] == "wrong_host"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1", "[::1]:8000", "192.168.3.4"])
def test_known_hosts_are_served(server: Served, host: str) -> None:
    assert server.client.get("/livez", headers={"host": host}).status_code == 200


def test_a_request_needs_one_host(server: Served) -> None:
    for hosts in (b"", b"Host: localhost\r\nHost: localhost\r\n"):
        assert raw_error(server.send(b"GET /livez HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n"))[0] == 400


def test_hosts_and_origins_can_be_added(tight: Served, picture: bytes) -> None:
    assert tight.client.get("/livez", headers={"host": "Pictures.Example:1"}).status_code == 200
    origin = {"origin": "https://shop.example"}
    answer = tight.client.post("/v1/predict", content=picture, headers=origin)
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    asked = {**origin, "access-control-request-method": "POST"}
    before = tight.client.options("/v1/predict", headers=asked)
    assert before.status_code == 204
    assert "authorization" in before.headers["access-control-allow-headers"]


def test_pages_of_others_are_refused(server: Served, picture: bytes) -> None:
    own = {"origin": server.url}
    assert server.client.post("/v1/predict", content=picture, headers=own).status_code == 200
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1", "file://"):
        answer = server.client.post("/v1/predict", content=picture, headers={"origin": origin})
        error(answer, 403, "wrong_origin")
        assert "access-control-allow-origin" not in answer.headers
    answer = server.client.post("/v1/predict", content=picture, headers={"sec-fetch-site": "cross-site"})
    error(answer, 403, "wrong_origin")


def test_no_answer_allows_other_origins(server: Served) -> None:
    for path in ("/", "/v1/model", "/livez", "/nothing", "/openapi.json"):
        headers = server.client.get(path).headers
        assert not [name for name in headers if name.startswith("access-control")]


def test_every_answer_has_the_headers_of_safety(server: Served, picture: bytes) -> None:
    answers = [server.client.get(path) for path in ("/", "/v1/model", "/nothing", "/static/nothing", "/openapi.json")]
    answers += [
        server.predict(picture),
        server.predict(b"no"),
        server.client.get("/", headers={"host": "evil.example"}),
    ]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "server" not in answer.headers


def test_a_key_opens(tight: Served, picture: bytes) -> None:
    with httpx.Client(base_url=tight.url, trust_env=False) as anyone:
        for path in ("/v1/model", "/v1/models", "/metrics", "/v2", "/v2/models/shapes"):
            answer = anyone.get(path)
            assert KEY not in error(answer, 401, "wrong_key")
            assert answer.headers["www-authenticate"] == "Bearer"
            for wrong in ("Bearer no", f"Basic {KEY}", "Bearer", KEY):
                assert anyone.get(path, headers={"authorization": wrong}).status_code == 401
            assert anyone.get(path, headers={"x-api-key": KEY}).status_code == 200
            assert anyone.get(path, headers={"authorization": f"bearer {KEY}"}).status_code == 200
        error(anyone.post("/v1/predict", content=picture), 401, "wrong_key")
        assert anyone.get("/livez").status_code == 200
        assert anyone.get("/readyz").status_code == 200


def test_names_are_data_and_touch_no_disk(server: Served, picture: bytes, tmp_path: Path) -> None:
    place = tmp_path / "written.jpg"
    for name in (str(place), "../../../tmp/x", "<script>alert(1)</script>", "a\u202eb", "-" * 1000):
        answer = server.client.post("/v1/predict", files=[("files", (name, picture))])
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["predictions"][0]["path"] == name[:255]
    assert not place.exists()
    assert not Path("/tmp/x").exists()


def test_a_large_upload_stays_in_memory(server: Served, picture: bytes) -> None:
    """The process has no file of its own open while a body of many MiB comes in."""
    files = Path(f"/proc/{server.process.pid}/fd")
    if not files.exists():
        pytest.skip("no /proc")
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n' + picture + bytes(8 * 2**20)
    head = "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with server.connect() as connection:
        connection.sendall(f"{head}Content-Length: {len(body) + 7}\r\n\r\n".encode() + body)
        time.sleep(0.2)
        open_files = [os.readlink(each) for each in files.iterdir()]
        assert not [each for each in open_files if each.startswith(("/tmp", "/var")) and "err.txt" not in each
                    and "out.txt" not in each]  # fmt: skip
        connection.sendall(b"\r\n--x--")
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_unknown_addresses_and_methods(server: Served) -> None:
    error(server.client.get("/nothing"), 404, "not_found")
    error(server.client.get("/static/..%2f..%2fsettings.py"), 404, "not_found")
    for method in ("TRACE", "PUT", "DELETE", "GET", "PATCH"):
        answer = server.client.request(method, "/v1/predict")
        error(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == "POST"
    error(server.client.get("/docs"), 404, "not_found")
    error(server.client.post("/v1/predict", headers={"content-encoding": "gzip"}, content=b"x"), 422, "compressed")


def test_one_hostile_picture_stalls_nobody(tight: Served, server: Served, picture: bytes) -> None:
    hostile = slow_jpeg()
    assert len(hostile) < 100_000
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(tight.client.post, "/v1/predict", content=hostile)
        time.sleep(0.1)
        # It has the one decoder; there is another for those who wait.
        assert tight.predict(picture).status_code == 200
        assert "longer than 1.5 s" in error(held.result(), 422, "unreadable")
    assert tight.metric('tellapart_decoders_replaced_total{why="time"}') >= 1
    tight.logged(event="decoder_replaced", why="time")
    assert server.predict(picture).status_code == 200


def test_a_full_queue_is_told_and_life_goes_on(tight: Served, picture: bytes) -> None:
    hostile = slow_jpeg()
    with ThreadPoolExecutor(8) as pool:
        held = [pool.submit(tight.client.post, "/v1/predict", content=hostile) for _ in range(2)]
        time.sleep(0.3)
        answers = list(pool.map(lambda _: tight.predict(picture, picture), range(4)))
        full = [each for each in answers if each.status_code == 503 and "places are taken" in each.text]
        assert full
        for answer in full:
            error(answer, 503, "queue_full")
            assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert tight.client.get("/livez").status_code == 200
        for each in held:
            assert each.result().status_code in {422, 503}
    assert tight.metric('tellapart_rejected_total{reason="queue_full"}') >= 1
    assert tight.client.get("/readyz").status_code == 200


def test_logs_tell_what_happened_and_nothing_of_pictures(server: Served, picture: bytes) -> None:
    server.client.post(
        "/v1/predict",
        files=[("files", ("secret-name.jpg", picture))],
        params={"token": "secret-query"},
        headers={"x-request-id": "req-17", "authorization": "Bearer secret-key"},
    )
    (line,) = server.logged(request_id="req-17")
    assert (line["method"], line["route"], line["status"], line["pictures"]) == ("POST", "/v1/predict", 200, 1)
    assert line["ms"] > 0
    assert "queue_ms" in line
    assert "secret" not in json.dumps(server.log())
    answer = server.client.get("/livez", headers={"x-request-id": 'bad"\x7fid'.encode("latin-1").decode("latin-1")[:4]})
    assert answer.headers["x-request-id"] != 'bad"'


# --- the life of a service


def test_a_new_file_takes_over_without_a_lost_request(
    bundle_path: Path, trained, picture: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "model.tellapart"
    shutil.copy(bundle_path, path)
    served = Served(tmp_path, str(path), "--max-batch", "2", "--decoders", "1")
    done = threading.Event()
    statuses: list[int] = []

    def ask() -> None:
        with httpx.Client(base_url=served.url, timeout=60, trust_env=False) as client:
            while not done.is_set():
                statuses.append(client.post("/v1/predict", content=picture).status_code)

    first = served.client.get("/v1/model").json()
    asking = [threading.Thread(target=ask) for _ in range(2)]
    try:
        for each in asking:
            each.start()
        manifest = dict(trained.bundle.manifest) | {"temperature": trained.bundle.manifest["temperature"] * 2}
        new = tmp_path / "new.tellapart"
        bundles.write(bundles.Bundle(manifest, trained.bundle.members), new)
        os.replace(new, path)
        served.logged(event="reload", result="taken")
        second = served.client.get("/v1/model").json()
        assert second["hash"] != first["hash"]
        path.write_bytes(b"broken")
        (line,) = served.logged(event="reload", result="refused")
        assert "is not a bundle" in line["message"]
        assert served.client.get("/v1/model").json() == second
        assert served.metric('tellapart_reloads_total{model="model",result="refused"}') == 1
        assert served.metric('tellapart_reloads_total{model="model",result="taken"}') == 1
    finally:
        done.set()
        for each in asking:
            each.join()
    assert set(statuses) == {200}
    assert served.stop(signal.SIGINT) == 0


def test_the_end_waits_for_what_was_accepted(bundle_path: Path, picture: bytes, tmp_path: Path) -> None:
    served = Served(tmp_path, str(bundle_path), "--max-batch", "2", "--decoders", "1")
    hostile = slow_jpeg(480, 2500)  # most of a second; beyond it would make way for the other
    with ThreadPoolExecutor(3) as pool:
        kept = httpx.Client(base_url=served.url, timeout=60, trust_env=False)
        assert kept.get("/livez").status_code == 200
        slow = pool.submit(served.client.post, "/v1/predict", content=hostile)
        with served.connect() as half:
            head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
            half.sendall(head + picture[:100])
            time.sleep(0.1)
            served.process.send_signal(signal.SIGTERM)
            served.logged(event="draining")
            assert kept.get("/readyz").status_code == 503  # a connection that was open is answered once more
            half.sendall(picture[100:])
            answer = half.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer
        assert slow.result().status_code == 200
        assert slow.result().headers["connection"] == "close"
    assert served.process.wait(60) == 0
    kept.close()
    with pytest.raises(OSError):
        served.connect()


def test_a_key_may_come_from_the_environment_and_reaches_no_other_process(bundle_path: Path, tmp_path: Path) -> None:
    served = Served(tmp_path, str(bundle_path), "--decoders", "1", environment={"TELLAPART_API_KEY": KEY})
    try:
        assert served.client.get("/v1/model").status_code == 401
        assert served.client.get("/v1/model", headers={"x-api-key": KEY}).status_code == 200
        children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children")
        for pid in Path("/proc").glob("[0-9]*") if children.exists() else []:
            try:
                parent = int((pid / "stat").read_text().rsplit(")", 1)[1].split()[1])
                if parent == served.process.pid:
                    assert KEY.encode() not in (pid / "environ").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
    finally:
        assert served.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.tellapart"], "No such bundle"),
        (["{bundle}", "a={bundle}", "a={bundle}"], "a name of its own"),
        (["{bundle}", "--max-files", "0"], "--max-files must be from 1"),
        (["{bundle}", "--allow-origin", "*"], "--allow-origin must be"),
        (["{bundle}", "--host", "203.0.113.7", "--port", "1"], "must be able to listen"),
    ],
)
def test_what_cannot_be_served_is_told(
    bundle_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from tellapart.cli import main

    with pytest.raises(SystemExit) as ended:
        main(["serve", *(each.format(bundle=bundle_path) for each in arguments)])
    assert ended.value.code in {1, 2}
    assert message in capsys.readouterr().err
