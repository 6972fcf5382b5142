# Signs tokens good and bad with PyJWT and says of each what PyJWT itself makes of it, one JSON object a line. The first line is the set of
# the public keys. Where the server is stricter on purpose (fractions in `exp`, texts for numbers) there is no case.

import base64
import hashlib
import hmac
import json
import os
import time

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

SECRET = os.environ["SECRET"]
ISSUER, AUDIENCE, LEEWAY_S = "https://id.example", "us", 30
NOW = int(time.time())

keys = {
    "rsa": ("RS256", rsa.generate_private_key(public_exponent=65537, key_size=2048)),
    "rsa2": ("RS256", rsa.generate_private_key(public_exponent=65537, key_size=3072)),
    "ec": ("ES256", ec.generate_private_key(ec.SECP256R1())),
    "ed": ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
}
strangers = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def public_set():
    entries = []
    for kid, (algorithm, key) in keys.items():
        entry = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
        entry.pop("key_ops", None)
        entries.append({**entry, "kid": kid, "use": "sig", "alg": algorithm})
    return {"keys": entries}


def claims(**more):
    base = {"sub": "alice", "exp": NOW + 3600, "iss": ISSUER, "aud": AUDIENCE}
    return {name: value for name, value in {**base, **more}.items() if value is not None}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(header, body, signature):
    message = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(body).encode())}"
    return f"{message}.{b64(signature(message.encode()))}"


def hmac_of(secret):
    return lambda message: hmac.new(secret, message, hashlib.sha256).digest()


def pem(key):
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def verdict(token):
    """As PyJWT is meant to be used: the header chooses among keys, a key has one algorithm."""
    try:
        header = jwt.get_unverified_header(token)
        if header.get("alg") == "HS256":
            key, algorithm = SECRET, "HS256"
        else:
            algorithm, private = keys[header["kid"]]
            key = private.public_key()
        jwt.decode(token, key, algorithms=[algorithm], audience=AUDIENCE, issuer=ISSUER, leeway=LEEWAY_S,
                   options={"require": ["exp", "iss", "aud"]})
        return True
    except (jwt.PyJWTError, KeyError, ValueError, UnicodeError):
        return False


def signers():
    yield "HS256", SECRET, {}
    for kid, (algorithm, key) in keys.items():
        yield algorithm, key, {"kid": kid}


def cases():
    variants = {
        "good": claims(),
        "audience in a list": claims(aud=["them", AUDIENCE]),
        "expired within the leeway": claims(exp=NOW - 10),
        "expired": claims(exp=NOW - 300),
        "not yet valid, within the leeway": claims(nbf=NOW + 15),
        "not yet valid": claims(nbf=NOW + 600),
        "valid since a while": claims(nbf=NOW - 600),
        "no end": claims(exp=None),
        "another issuer": claims(iss="https://id.example/"),
        "no issuer": claims(iss=None),
        "another audience": claims(aud="them"),
        "audiences of others": claims(aud=["them", "you"]),
        "no audience": claims(aud=None),
        "claims that nobody knows": claims(email="a@b.c", nested={"a": [1, None]}),
    }
    for algorithm, key, header in signers():
        name = header.get("kid", "secret")
        for what, body in variants.items():
            yield f"{name}: {what}", jwt.encode(body, key, algorithm=algorithm, headers=header)
        good = jwt.encode(claims(), key, algorithm=algorithm, headers=header)
        head, body, signature = good.split(".")
        other = b64(json.dumps(claims(sub="mallory")).encode())
        yield f"{name}: other claims under the signature", f"{head}.{other}.{signature}"
        yield f"{name}: half a signature", f"{head}.{body}.{signature[:len(signature) // 2 // 4 * 4]}"
        yield f"{name}: no signature", f"{head}.{body}."
        flipped = "A" if signature[10] != "A" else "B"
        yield f"{name}: one bit of the signature", f"{head}.{body}.{signature[:10]}{flipped}{signature[11:]}"
        none = b64(json.dumps({**header, "alg": "none", "typ": "JWT"}).encode())
        yield f"{name}: no algorithm", f"{none}.{body}."
        yield f"{name}: no algorithm over a signature", f"{none}.{body}.{signature}"
        if algorithm == "HS256":
            yield "secret: another secret", jwt.encode(claims(), SECRET + "x", algorithm="HS256")
            yield "secret: HS512", jwt.encode(claims(), SECRET * 2, algorithm="HS512")
            continue
        yield f"{name}: a stranger's key", jwt.encode(claims(), strangers[algorithm], algorithm, headers=header)
        yield f"{name}: a key id that is none", jwt.encode(claims(), key, algorithm, headers={"kid": "nobody"})
        yield f"{name}: its public key as a secret", by_hand({"alg": "HS256", **header}, claims(), hmac_of(pem(key)))
        for kid, (foreign, _) in keys.items():
            if foreign != algorithm:
                yield f"{name}: under the id of {kid}", jwt.encode(claims(), key, algorithm, headers={"kid": kid})
                lie = b64(json.dumps({"alg": foreign, "typ": "JWT", "kid": header["kid"]}).encode())
                yield f"{name}: said to be {foreign}", f"{lie}.{body}.{signature}"
    key = keys["rsa"][1]
    for algorithm in ["RS384", "RS512", "PS256"]:
        yield f"rsa: {algorithm}", jwt.encode(claims(), key, algorithm, headers={"kid": "rsa"})


print(json.dumps(public_set()))
for what, token in cases():
    print(json.dumps({"what": what, "token": token, "good": verdict(token)}))
