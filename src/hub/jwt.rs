//! The tokens of a school: who may come in, under which id, where, as what, and until when.
//!
//! Owns: an HS256 JWT (RFC 7519), read and written, and when one is good (PROTOCOL.md, Authentication). Refuses to know: who shows it, and what
//! becomes of a join.
//!
//! What it leaves out is what has gone wrong in other readers: there is one algorithm, and the token has no say in it; nothing that it says
//! is looked at before its signature is found to be right; a name that stands twice, a claim of another type or a text that could have been
//! written otherwise is an error and never a guess. `null` is such another type: it is no way to write "without an end".

use std::borrow::Cow;
use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use sha2::Sha256;

use crate::base::{Now, base64url};
use crate::limits;
use crate::wire::{Code, Failure};

/// What a school signs its tokens with: any bytes, and not none. They are not shown, whatever is printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenKey(Vec<u8>);

/// What a token says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Claims {
    /// The only id that it is for; not empty.
    pub sub: String,
    /// The only rooms that it is for, by their numbers; `None` for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rooms: Option<Vec<String>>,
    /// Whether it makes its bearer the owner of those rooms.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub owner: bool,
    /// From when on it is not good any more, in seconds since 1970; `None` for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    /// Before when it is not good yet, as `exp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
}

/// What is wrong with a token, in words for people.
type Wrong = Cow<'static, str>;

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

impl TokenKey {
    /// A key of these bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        TokenKey(bytes.into())
    }

    /// The token that says so.
    #[must_use]
    pub fn sign(&self, claims: &Claims) -> String {
        // Strings, numbers and lists of them are always JSON.
        let claims = serde_json::to_string(claims).expect("claims are JSON");
        let mut token = [HEADER, &claims].map(|part| base64url::encode(part.as_bytes())).join(".");
        let signature = self.mac(&token).finalize().into_bytes();
        token.push('.');
        token += &base64url::encode(&signature);
        token
    }

    /// What a token says that is good now, in the room of this number.
    ///
    /// # Errors
    /// With the code `token`, and what is wrong.
    pub fn check(&self, token: &str, room_number: &str, now: Now) -> Result<Claims, Failure> {
        let claims = self.read(token).map_err(|wrong| refused(&format!("令牌无效 ({wrong})")))?;
        claims.check_time(now)?;
        if claims.rooms.as_ref().is_some_and(|rooms| !rooms.iter().any(|room| room == room_number)) {
            return Err(refused("令牌不能用于这个房间 (the token is not for this room)"));
        }
        Ok(claims)
    }

    /// What a token says that was signed with this key, whenever and wherever it is good.
    fn read(&self, token: &str) -> Result<Claims, Wrong> {
        let parts = token.rsplit_once('.').and_then(|(signed, signature)| {
            let (header, claims) = signed.split_once('.')?;
            Some((signed, header, claims, signature))
        });
        let (signed, header, claims, signature) = parts.ok_or("it does not have the three parts of a JWT")?;
        check_header(&text(header, "its header is")?)?;
        let signature = base64url::decode(signature).ok_or("its signature is not base64url")?;
        // In constant time, and of full length only.
        self.mac(signed).verify_slice(&signature).map_err(|_| "its signature is wrong")?;
        read_claims(&text(claims, "its claims are")?)
    }

    fn mac(&self, signed: &str) -> Hmac<Sha256> {
        let keyed = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        keyed.chain_update(signed)
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(…)")
    }
}

impl Claims {
    /// Whether its time has come and is not over. A board whose clock was never set cannot tell, and lets nobody in on the strength of that.
    fn check_time(&self, now: Now) -> Result<(), Failure> {
        if self.exp.is_none() && self.nbf.is_none() {
            return Ok(());
        }
        let now_s = now.wall_ms / 1000;
        if is_clock_unset(now) {
            return Err(refused(
                "服务器的时钟没有设置，无法判断令牌是否过期 (the hub's clock is not set: it cannot tell whether the token has expired; \
                 without a clock, use tokens without exp)",
            ));
        }
        // Seconds since 1970 are far from what an i64 can't hold.
        let now_s = i64::try_from(now_s).unwrap_or(i64::MAX);
        if self.nbf.is_some_and(|nbf| now_s < nbf) {
            return Err(refused("令牌还没有生效 (the token is not good yet)"));
        }
        if self.exp.is_some_and(|exp| now_s >= exp) {
            return Err(refused("令牌已过期 (the token has expired)"));
        }
        Ok(())
    }
}

/// Whether the wall clock was plainly never set, as on a board without a battery: it stands before the hub was built.
#[must_use]
pub fn is_clock_unset(now: Now) -> bool {
    now.wall_ms / 1000 < limits::BUILT_S
}

/// A join without a token, where one is needed.
pub(super) fn missing() -> Failure {
    refused("需要令牌 (a token is needed here)")
}

fn refused(says: &str) -> Failure {
    Failure::new(Code::Token, format!("extendFields.token: {says}"))
}

fn text(part: &str, what: &str) -> Result<String, Wrong> {
    let bytes = base64url::decode(part).ok_or_else(|| format!("{what} not base64url"))?;
    Ok(String::from_utf8(bytes).map_err(|_| format!("{what} not UTF-8"))?)
}

fn check_header(json: &str) -> Result<(), Wrong> {
    let header = Object::read(json).ok_or("its header is not a JSON object with each name once")?;
    if header.string("alg").flatten().as_deref() != Some("HS256") {
        return Err("its alg is not HS256".into());
    }
    if header.string("typ").is_some_and(|typ| typ.as_deref() != Some("JWT")) {
        return Err("its typ is not JWT".into());
    }
    // What must be understood is nothing that we do (RFC 7515, section 4.1.11).
    if header.get("crit").is_some() { Err("it has a crit".into()) } else { Ok(()) }
}

fn read_claims(json: &str) -> Result<Claims, Wrong> {
    let claims = Object::read(json).ok_or("its claims are not a JSON object with each name once")?;
    let sub = claims.string("sub").flatten().filter(|sub| !sub.is_empty());
    let rooms = claims.get("rooms").map(|rooms| serde_json::from_str(rooms.get()));
    let owner = claims.get("owner").map(|owner| serde_json::from_str(owner.get()));
    let seconds = |name| claims.get(name).map(|raw| seconds(raw).ok_or(format!("its {name} is not a number")));
    Ok(Claims {
        sub: sub.ok_or("its sub is not a string that is not empty")?,
        rooms: rooms.transpose().map_err(|_| "its rooms are not an array of strings")?,
        owner: owner.transpose().map_err(|_| "its owner is neither true nor false")?.unwrap_or(false),
        exp: seconds("exp").transpose()?,
        nbf: seconds("nbf").transpose()?,
    })
}

/// A NumericDate (RFC 7519, section 2), which may have a fraction: down to the whole second. One beyond all dates is the last or the first.
fn seconds(raw: &RawValue) -> Option<i64> {
    // Of JSON, which this is, only numbers begin so; of numbers, one that is too large for this reads as infinite.
    let is_number = raw.get().starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let number: f64 = raw.get().parse().ok().filter(|number: &f64| is_number && number.is_finite())?;
    // Saturates.
    Some(number.floor() as i64)
}

/// A JSON object, its values as they stand there, no name twice.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Object<'a> {
    fn read(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| *value)
    }

    /// The string of this name: `None` where there is no such name, and `Some(None)` where it is no string.
    fn string(&self, name: &str) -> Option<Option<String>> {
        self.get(name).map(|value| serde_json::from_str(value.get()).ok())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EachOnce;
        impl<'de> Visitor<'de> for EachOnce {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                // A token is short, and so is this list.
                let mut fields: Self::Value = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    if fields.iter().any(|(other, _)| *other == name) {
                        return Err(A::Error::custom("a name stands twice"));
                    }
                    fields.push((name, value));
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(EachOnce).map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Made with Python's standard library, which shares no code with us:
    ///
    /// ```python
    /// b64 = lambda b: base64.urlsafe_b64encode(b).rstrip(b"=")
    /// part = b64(b'{"alg":"HS256","typ":"JWT"}') + b"." + b64(json.dumps({"sub": "学号七", "rooms": ["E00001"], "exp": 2000000000}).encode())
    /// print((part + b"." + b64(hmac.new(b"the secret of a school in Python", part, hashlib.sha256).digest())).decode())
    /// ```
    const OF_PYTHON: &str = concat!(
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.",
        "eyJzdWIiOiAiXHU1YjY2XHU1M2Y3XHU0ZTAzIiwgInJvb21zIjogWyJFMDAwMDEiXSwgImV4cCI6IDIwMDAwMDAwMDB9.",
        "_QByZJ4qpylRM3xqSPalo7XX1QL_kOOa7M5-CGuZ5C4"
    );
    const SECRET: &str = "the secret of a school in Python";
    /// The first second after which all its clocks are set.
    const NOW_S: i64 = limits::BUILT_S as i64;

    fn key() -> TokenKey {
        TokenKey::new(SECRET)
    }

    fn at(seconds: i64) -> Now {
        Now { monotonic_ms: 0, wall_ms: seconds as u64 * 1000 + 999 }
    }

    /// A token of these parts, with a signature that is right.
    fn signed(header: &str, claims: &str) -> String {
        let signed = [header, claims].map(|part| base64url::encode(part.as_bytes())).join(".");
        let signature = key().mac(&signed).finalize().into_bytes();
        format!("{signed}.{}", base64url::encode(&signature))
    }

    fn of(claims: &str) -> Result<Claims, String> {
        key().read(&signed(HEADER, claims)).map_err(Wrong::into_owned)
    }

    #[track_caller]
    fn wrong(token: &str) -> String {
        key().read(token).expect_err(token).into_owned()
    }

    /// The words of a refusal, which always has the one code.
    fn refusal(claims: &str, room: &str, now: Now) -> Option<String> {
        let failure = key().check(&signed(HEADER, claims), room, now).err()?;
        assert_eq!(failure.code, Code::Token);
        Some(failure.msg.into_owned())
    }

    #[test]
    fn a_token_that_python_made() {
        let claims = Claims {
            sub: "学号七".into(),
            rooms: Some(vec!["E00001".into()]),
            exp: Some(2_000_000_000),
            ..Claims::default()
        };
        assert_eq!(key().check(OF_PYTHON, "E00001", at(NOW_S)), Ok(claims));
    }

    #[test]
    fn what_is_signed_is_read_again() {
        let all = Claims {
            sub: "a\"b".into(),
            rooms: Some(vec!["E1".into(), "房".into()]),
            owner: true,
            exp: Some(NOW_S + 1),
            nbf: Some(0),
        };
        for claims in [all, Claims { sub: "a".into(), ..Claims::default() }] {
            assert_eq!(key().read(&key().sign(&claims)), Ok(claims));
        }
        let token = key().sign(&Claims { sub: "a".into(), ..Claims::default() });
        assert_eq!(base64url::decode(token.split('.').nth(1).unwrap()).unwrap(), br#"{"sub":"a"}"#);
    }

    #[test]
    fn there_is_one_algorithm() {
        let claims = r#"{"sub":"a"}"#;
        for header in
            [r#"{"alg":"HS256"}"#, r#"{"typ":"JWT","alg":"HS256","kid":"7"}"#, r#" { "alg" : "HS\u003256" } "#]
        {
            assert!(key().read(&signed(header, claims)).is_ok(), "{header}");
        }
        for (header, says) in [
            (r#"{"alg":"none"}"#, "its alg is not HS256"),
            (r#"{"alg":"None"}"#, "its alg is not HS256"),
            (r#"{"alg":"RS256"}"#, "its alg is not HS256"),
            (r#"{"alg":"HS384"}"#, "its alg is not HS256"),
            (r#"{"alg":"hs256"}"#, "its alg is not HS256"),
            (r#"{"alg":"HS256 "}"#, "its alg is not HS256"),
            (r#"{"alg":["HS256"]}"#, "its alg is not HS256"),
            (r#"{"alg":null}"#, "its alg is not HS256"),
            (r#"{"typ":"JWT"}"#, "its alg is not HS256"),
            (r#"{"alg":"HS256","typ":"jwt"}"#, "its typ is not JWT"),
            (r#"{"alg":"HS256","typ":"JWE"}"#, "its typ is not JWT"),
            (r#"{"alg":"HS256","typ":null}"#, "its typ is not JWT"),
            (r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, "it has a crit"),
            (r#"{"alg":"HS256","crit":null}"#, "it has a crit"),
            (r#"{"alg":"none","alg":"HS256"}"#, "its header is not a JSON object with each name once"),
            (r#"{"alg":"HS256","x":1,"\u0078":2}"#, "its header is not a JSON object with each name once"),
            (r#"["HS256","JWT"]"#, "its header is not a JSON object with each name once"),
            ("", "its header is not a JSON object with each name once"),
            (r#"{"alg":"HS256"}{}"#, "its header is not a JSON object with each name once"),
        ] {
            assert_eq!(wrong(&signed(header, claims)), says, "{header}");
        }
        // Without a signature, as `none` has it.
        let none = [r#"{"alg":"none"}"#, claims].map(|part| base64url::encode(part.as_bytes())).join(".");
        assert_eq!(wrong(&format!("{none}.")), "its alg is not HS256");
        let none = [HEADER, claims].map(|part| base64url::encode(part.as_bytes())).join(".");
        assert_eq!(wrong(&format!("{none}.")), "its signature is wrong");
    }

    /// Before that, nothing of the claims is looked at.
    #[test]
    fn the_signature_comes_before_the_claims() {
        let token = signed(HEADER, r#"{"sub":"a"}"#);
        let [header, claims, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
        let other = base64url::encode(br#"{"alg":"HS256","typ":"JWT","x":1}"#);
        assert_eq!(wrong(&format!("{other}.{claims}.{signature}")), "its signature is wrong");
        let other = base64url::encode(br#"{"sub":"b"}"#);
        assert_eq!(wrong(&format!("{header}.{other}.{signature}")), "its signature is wrong");
        assert_eq!(wrong(&format!("{header}.!.{signature}")), "its signature is wrong");
        assert_eq!(wrong(&format!("{header}..{signature}")), "its signature is wrong");
        let short = base64url::encode(&base64url::decode(signature).unwrap()[..16]);
        for signature in ["", &short] {
            assert_eq!(wrong(&format!("{header}.{claims}.{signature}")), "its signature is wrong");
        }
        assert_eq!(TokenKey::new("another").read(&token).unwrap_err(), "its signature is wrong");
    }

    #[test]
    fn three_parts_of_base64url() {
        let token = signed(HEADER, r#"{"sub":"a"}"#);
        for text in ["", ".", "a", "a.b", &token.replace('.', "")] {
            assert_eq!(wrong(text), "it does not have the three parts of a JWT", "{text}");
        }
        assert_eq!(wrong(&format!("{token}=")), "its signature is not base64url");
        assert_eq!(wrong(&format!("{token}.{token}")), "its signature is wrong");
        assert_eq!(wrong(&format!("={token}")), "its header is not base64url");
        assert_eq!(wrong("..."), "its header is not a JSON object with each name once");
        assert_eq!(wrong(&signed(HEADER, "\u{1}")), "its claims are not a JSON object with each name once");
        let not_utf8 = format!("{}.{}", base64url::encode(HEADER.as_bytes()), base64url::encode(b"{\"sub\":\"\xff\"}"));
        let signature = base64url::encode(&key().mac(&not_utf8).finalize().into_bytes());
        assert_eq!(wrong(&format!("{not_utf8}.{signature}")), "its claims are not UTF-8");
    }

    #[test]
    fn a_claim_of_another_type_is_no_claim() {
        for claims in ["[]", "1", "", "{", r#"{"sub":"a"} x"#, r#"{"sub":"a","sub":"b"}"#, r#"{"sub":"a","x":1,"x":1}"#]
        {
            assert_eq!(of(claims).unwrap_err(), "its claims are not a JSON object with each name once", "{claims}");
        }
        for claims in ["{}", r#"{"sub":""}"#, r#"{"sub":null}"#, r#"{"sub":7}"#, r#"{"sub":["a"]}"#, r#"{"Sub":"a"}"#] {
            assert_eq!(of(claims).unwrap_err(), "its sub is not a string that is not empty", "{claims}");
        }
        for (claim, says) in [
            (r#""rooms":"E1""#, "its rooms are not an array of strings"),
            (r#""rooms":[1]"#, "its rooms are not an array of strings"),
            (r#""rooms":null"#, "its rooms are not an array of strings"),
            (r#""rooms":{"0":"E1"}"#, "its rooms are not an array of strings"),
            (r#""owner":1"#, "its owner is neither true nor false"),
            (r#""owner":"true""#, "its owner is neither true nor false"),
            (r#""owner":null"#, "its owner is neither true nor false"),
            (r#""exp":"2000000000""#, "its exp is not a number"),
            (r#""exp":null"#, "its exp is not a number"),
            (r#""exp":true"#, "its exp is not a number"),
            (r#""exp":[2000000000]"#, "its exp is not a number"),
            (r#""exp":1e999"#, "its exp is not a number"),
            (r#""nbf":"0""#, "its nbf is not a number"),
        ] {
            assert_eq!(of(&format!(r#"{{"sub":"a",{claim}}}"#)).unwrap_err(), says, "{claim}");
        }
        let claims = of(r#"{"iss":{"sub":1},"iat":null,"sub":"\u0061","rooms":[],"owner":false,"nbf":-1.5,"exp":2e9}"#);
        let expected =
            Claims { sub: "a".into(), rooms: Some(Vec::new()), owner: false, exp: Some(2_000_000_000), nbf: Some(-2) };
        assert_eq!(claims, Ok(expected));
    }

    #[test]
    fn a_token_is_good_from_its_first_second_to_before_its_last() {
        let exp = |exp: &str, now_s| refusal(&format!(r#"{{"sub":"a","exp":{exp}}}"#), "E1", at(now_s));
        let (soon, past) = (NOW_S + 10, Some("extendFields.token: 令牌已过期 (the token has expired)".to_owned()));
        assert_eq!(exp(&soon.to_string(), NOW_S + 9), None);
        assert_eq!(exp(&soon.to_string(), NOW_S + 10), past);
        assert_eq!(exp(&format!("{soon}.9"), NOW_S + 9), None);
        assert_eq!(exp(&format!("{soon}.9"), NOW_S + 10), past);
        assert_eq!(exp("1e300", NOW_S), None);
        for long_ago in ["0", "-1", "-1e300"] {
            assert_eq!(exp(long_ago, NOW_S), past);
        }
        let nbf = |now_s| refusal(&format!(r#"{{"sub":"a","nbf":{soon}}}"#), "E1", at(now_s));
        assert!(nbf(NOW_S + 9).unwrap().contains("not good yet"));
        assert_eq!(nbf(NOW_S + 10), None);
    }

    #[test]
    fn a_board_without_a_clock_takes_only_tokens_without_an_end() {
        let unset = at(NOW_S - 1);
        assert!(is_clock_unset(unset) && !is_clock_unset(at(NOW_S)));
        assert_eq!(refusal(r#"{"sub":"a"}"#, "E1", unset), None);
        for claim in ["exp", "nbf"] {
            let says = refusal(&format!(r#"{{"sub":"a","{claim}":{}}}"#, i64::MAX), "E1", unset).unwrap();
            assert!(says.contains("clock is not set"), "{says}");
        }
    }

    #[test]
    fn a_token_is_for_its_rooms() {
        let claims = r#"{"sub":"a","rooms":["E1","E2"]}"#;
        assert_eq!(refusal(claims, "E2", at(NOW_S)), None);
        for room in ["E3", "E", "e1", ""] {
            assert!(refusal(claims, room, at(NOW_S)).unwrap().contains("not for this room"), "{room}");
        }
        assert!(refusal(r#"{"sub":"a","rooms":[]}"#, "E1", at(NOW_S)).is_some());
        assert_eq!(refusal(r#"{"sub":"a"}"#, "E1", at(NOW_S)), None);
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?}", key()), "TokenKey(…)");
    }

    proptest! {
        /// Whatever is changed in a good token, it is not good any more; nor does anything panic.
        #[test]
        fn no_token_but_the_very_one_is_good(place in 0..OF_PYTHON.len(), with in any::<char>(), cut in any::<bool>()) {
            let mut token = OF_PYTHON.to_owned();
            token.replace_range(place..=place, &if cut { String::new() } else { with.to_string() });
            prop_assert!(token == OF_PYTHON || key().read(&token).is_err(), "{}", token);
        }

        #[test]
        fn what_a_school_signs_is_read_as_it_stands(sub in ".{1,20}", rooms in prop::option::of(prop::collection::vec(".*", 0..3)), exp in any::<Option<i32>>()) {
            let claims = Claims { sub, rooms, exp: exp.map(i64::from), ..Claims::default() };
            prop_assert_eq!(key().read(&key().sign(&claims)), Ok(claims));
        }

        #[test]
        fn no_claims_panic(json in any::<String>(), now_ms in any::<u64>()) {
            let _ = key().check(&signed(HEADER, &json), "E1", Now { monotonic_ms: 0, wall_ms: now_ms });
        }
    }
}
