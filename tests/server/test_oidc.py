"""Login by an identity provider: a real one, in a process of its own, and every answer that must not be believed."""

import re
import socket
import subprocess
import sys
import time
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from agentspan.config import Settings
from agentspan.errors import ConfigurationProblem
from agentspan.server.oidc import Provider
from tests.server.conftest import KEY
from tests.server.running import Running, running
from tests.server.test_access import root
from tests.server.test_ui import PAGE

SERVE = """
import sys, warnings
warnings.simplefilter("ignore")
import oidc_provider_mock
with oidc_provider_mock.run_server_in_thread(int(sys.argv[1])) as server:
    print("ready", flush=True)
    sys.stdin.read()
"""
RULES = "groups:platform=admin, groups:data=developer, email:lee@example.com=operator"


@pytest.fixture(scope="module")
def issuer():
    """A provider's address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", SERVE, str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        yield f"http://localhost:{port}"


@pytest.fixture
async def house(tmp_path, issuer):
    """A server that knows the provider."""
    async with running(tmp_path, **KEY, **settings(issuer)) as server:
        yield server
    while BROWSERS:
        await BROWSERS.pop().aclose()


BROWSERS: list[httpx.AsyncClient] = []


def settings(issuer: str, **more: str) -> dict[str, str]:
    return {
        "AGENTSPAN_OIDC_ISSUER": issuer,
        "AGENTSPAN_OIDC_CLIENT_ID": "agentspan",
        "AGENTSPAN_OIDC_CLIENT_SECRET": "between us",
        "AGENTSPAN_OIDC_ROLES": RULES,
        **more,
    }


class Browser:
    """A person's browser: it keeps cookies, and follows links by hand."""

    def __init__(self, server: Running, issuer: str) -> None:
        self.server, self.issuer = server, issuer
        self.http = httpx.AsyncClient(base_url=server.url, headers=PAGE, trust_env=False, timeout=20)
        BROWSERS.append(self.http)

    async def begin(self, after: str = "") -> str:
        """The address to which the server sends them."""
        answer = await self.http.get("/login/oidc", params={"next": after})
        assert answer.status_code == 303, answer.text
        return answer.headers["Location"]

    async def agree(self, address: str, who: str) -> str:
        """Log in at the provider; the address to which it sends them back."""
        async with httpx.AsyncClient(trust_env=False) as there:
            answer = await there.post(address, data={"sub": who})
            assert answer.status_code in (302, 303), answer.text
            return answer.headers["Location"]

    async def log_in(self, who: str, after: str = "") -> httpx.Response:
        return await self.http.get(await self.agree(await self.begin(after), who))

    async def me(self) -> dict:
        return (await self.http.get("/api/auth/me")).json()


async def known(issuer: str, who: str, **claims) -> None:
    """Let the provider know somebody."""
    async with httpx.AsyncClient(trust_env=False) as there:
        answer = await there.put(f"{issuer}/users/{who}", json=claims)
        assert answer.status_code == 204, answer.text


async def test_a_person_logs_in_elsewhere_and_comes_back_to_the_page_they_wanted(house, issuer):
    await known(issuer, "ada", email="ada@example.com", name="Ada L.", preferred_username="ada", groups=["platform"])
    browser = Browser(house, issuer)
    form = await browser.http.get("/login?next=/ui/runs")
    assert re.search(r'href="login/oidc\?next=%2Fui%2Fruns"', form.text)
    answer = await browser.log_in("ada", "/ui/runs")
    assert (answer.status_code, answer.headers["Location"]) == (303, "../../ui/runs")
    me = await browser.me()
    assert (me["kind"], me["name"], me["role"]) == ("user", "ada", "admin")
    [user] = (await root(house).ask("GET", "/api/users")).json()
    assert (user["name"], user["displayName"], user["email"], user["oidc"]) == (
        "ada",
        "Ada L.",
        "ada@example.com",
        True,
    )


async def test_the_role_follows_the_claims_of_each_login(house, issuer):
    await known(issuer, "bob", email="bob@example.com", groups=["data"])
    browser = Browser(house, issuer)
    await browser.log_in("bob")
    assert (await browser.me())["role"] == "developer"
    await known(issuer, "bob", email="lee@example.com", groups=[])
    assert (await Browser(house, issuer).log_in("bob")).status_code == 303
    assert (await browser.http.get("/api/auth/me")).status_code == 401
    await browser.log_in("bob")
    assert (await browser.me())["role"] == "operator"


async def test_who_fits_no_rule_gets_no_access(house, issuer):
    await known(issuer, "eve", email="eve@example.com", groups=["others"])
    browser = Browser(house, issuer)
    answer = await browser.log_in("eve")
    assert answer.status_code == 403
    assert "ask an admin" in answer.text
    assert (await browser.http.get("/api/auth/me")).status_code == 401
    assert (await root(house).ask("GET", "/api/users")).json() == []


async def test_a_disabled_user_stays_out(house, issuer):
    await known(issuer, "dan", email="lee@example.com", preferred_username="dan")
    await Browser(house, issuer).log_in("dan")
    assert await root(house).status("PATCH", "/api/users/dan", {"disabled": True}) == 200
    assert (await Browser(house, issuer).log_in("dan")).status_code == 403


async def test_the_provider_cannot_take_over_a_user_who_has_a_password(house, issuer):
    given = {"name": "boss", "role": "admin", "password": "a long password"}
    assert await root(house).status("POST", "/api/users", given) == 201
    await known(issuer, "mallory", email="lee@example.com", preferred_username="boss")
    answer = await Browser(house, issuer).log_in("mallory")
    assert answer.status_code == 409
    assert "already" in answer.text


async def test_an_answer_to_another_login_is_refused(house, issuer):
    await known(issuer, "lee", email="lee@example.com")
    one, other = Browser(house, issuer), Browser(house, issuer)
    back = await one.agree(await one.begin(), "lee")
    await other.begin()
    assert (await other.http.get(back)).status_code == 401
    nobody = Browser(house, issuer)
    assert (await nobody.http.get(back)).status_code == 401
    assert (await one.http.get(back)).status_code == 303
    # A code is good once.
    assert (await one.http.get(back)).status_code == 401


async def test_a_refusal_there_is_said_here(house, issuer):
    browser = Browser(house, issuer)
    state = parse_qs(urlsplit(await browser.begin()).query)["state"][0]
    back = f"/login/oidc/callback?error=access_denied&error_description=not+today%3Cscript%3E&state={state}"
    answer = await browser.http.get(back)
    assert answer.status_code == 401
    assert "not today&lt;script&gt;" in answer.text


async def test_a_provider_that_is_away_is_said_and_the_password_still_works(tmp_path):
    async with running(tmp_path, **KEY, **settings("http://127.0.0.1:9")) as server:
        answer = await server.http.get("/login/oidc", headers=PAGE)
        assert answer.status_code == 503
        assert "does not answer" in answer.text
        assert await root(server).status("GET", "/api/agent/list") == 200


async def test_without_a_provider_there_is_no_such_login(locked):
    assert (await locked.http.get("/login/oidc", headers=PAGE)).status_code == 404
    assert "login/oidc" not in (await locked.http.get("/login", headers=PAGE)).text


# What is believed

NOW = int(time.time())
RIGHT = {"iss": "http://idp.example", "aud": "agentspan", "sub": "x", "iat": NOW, "exp": NOW + 86_400, "nonce": "n"}
OURS, FOREIGN = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))


def provider(tmp_path) -> Provider:
    """A provider whose addresses and key are known already."""
    given = {"AGENTSPAN_DATA_DIR": str(tmp_path), **KEY, **settings("http://idp.example")}
    found = Provider(Settings.load(given))
    key = jwt.algorithms.RSAAlgorithm.to_jwk(OURS.public_key(), as_dict=True)
    found._about = {"issuer": "http://idp.example", "jwks_uri": "http://127.0.0.1:9/keys"}
    found._keys = {"keys": [{**key, "kid": "1", "use": "sig"}]}
    return found


async def test_a_right_token_is_believed(tmp_path):
    token = jwt.encode(RIGHT, OURS, "RS256", headers={"kid": "1"})
    assert (await provider(tmp_path)._checked(token, "n"))["sub"] == "x"


@pytest.mark.parametrize(
    ("claims", "key", "algorithm"),
    [
        ({**RIGHT, "aud": "another"}, OURS, "RS256"),
        ({**RIGHT, "aud": ["agentspan", "another"], "azp": "another"}, OURS, "RS256"),
        ({**RIGHT, "iss": "http://evil.example"}, OURS, "RS256"),
        ({**RIGHT, "exp": NOW - 3600}, OURS, "RS256"),
        ({**RIGHT, "iat": NOW + 86_400}, OURS, "RS256"),
        ({**RIGHT, "nonce": "m"}, OURS, "RS256"),
        ({name: value for name, value in RIGHT.items() if name != "nonce"}, OURS, "RS256"),
        ({name: value for name, value in RIGHT.items() if name != "sub"}, OURS, "RS256"),
        (RIGHT, FOREIGN, "RS256"),
        (RIGHT, "between us, and long enough for it", "HS256"),
        (RIGHT, None, "none"),
    ],
)
async def test_a_wrong_token_is_not(tmp_path, claims, key, algorithm):
    token = jwt.encode(claims, key, algorithm, headers={"kid": "1"})
    with pytest.raises(Exception, match="identity provider"):
        await provider(tmp_path)._checked(token, "n")


async def test_a_token_that_is_none_is_not_believed(tmp_path):
    for text in ("", "x", "a.b.c"):
        with pytest.raises(Exception, match="identity provider"):
            await provider(tmp_path)._checked(text, "n")


@pytest.mark.parametrize("missing", [["AGENTSPAN_OIDC_CLIENT_ID"], ["AGENTSPAN_OIDC_ROLES"], list(KEY)])
def test_half_a_provider_stops_the_start_with_a_sentence(tmp_path, missing):
    given = {"AGENTSPAN_DATA_DIR": str(tmp_path), **KEY, **settings("https://idp.example")}
    with pytest.raises(ConfigurationProblem, match=missing[0]):
        Settings.load({name: value for name, value in given.items() if name not in missing})


@pytest.mark.parametrize("rules", ["admin", "groups=admin", "groups:x=king", ":x=admin", "groups:=viewer"])
def test_rules_that_say_nothing_are_refused(tmp_path, rules):
    given = {"AGENTSPAN_DATA_DIR": str(tmp_path), **KEY, **settings("https://idp.example", AGENTSPAN_OIDC_ROLES=rules)}
    with pytest.raises(ConfigurationProblem, match="AGENTSPAN_OIDC_ROLES"):
        Settings.load(given)
