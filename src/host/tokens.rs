//! What `classhub token` prints.
//!
//! Owns: a token from what was typed, and why there can be none. Refuses to know: how a token is written and read (`hub`).

use super::cli::TokenOptions;
use super::config::Config;
use crate::base::Now;
use crate::hub::{Claims, is_clock_unset};
use crate::limits;

/// The token that was asked for.
///
/// # Errors
/// In one line, where the configuration has no secret, the clock says nothing of when it would end, or it would be too long to be shown.
pub fn make(options: &TokenOptions, config: &Config, now: Now) -> Result<String, String> {
    let file = options.config.display();
    let key = config.hub.token_key.as_ref().ok_or_else(|| {
        format!("{file}: there is no [auth] with a secret_file to sign a token with, and a hub asks for none")
    })?;
    if options.ttl_s.is_some() && is_clock_unset(now) {
        let says =
            "this machine's clock is not set, so a token of it would have expired long ago; set it, or say --ttl none";
        return Err(says.to_owned());
    }
    // Two numbers far below what 63 bits hold.
    let exp = options.ttl_s.map(|ttl_s| i64::try_from(now.wall_ms / 1000 + ttl_s).unwrap_or(i64::MAX));
    let rooms = Some(options.rooms.clone()).filter(|rooms| !rooms.is_empty());
    let token = key.sign(&Claims { sub: options.sub.clone(), rooms, owner: options.owner, exp, nbf: None });
    if token.len() > limits::TOKEN_BYTES {
        let (length, most) = (token.len(), limits::TOKEN_BYTES);
        return Err(format!("a token for so many rooms has {length} bytes, and a hub takes {most}; leave --room out"));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::TokenKey;

    const NOW: Now = Now { monotonic_ms: 0, wall_ms: limits::BUILT_S * 1000 };

    fn options() -> TokenOptions {
        let ttl_s = Some(60);
        TokenOptions { config: "a.toml".into(), sub: "T01".into(), rooms: Vec::new(), owner: false, ttl_s }
    }

    fn config() -> Config {
        let mut config = Config::default();
        config.hub.token_key = Some(TokenKey::new("secret"));
        config
    }

    #[test]
    fn a_hub_takes_what_is_made_until_it_ends() {
        let token = make(&options(), &config(), NOW).unwrap();
        let key = config().hub.token_key.unwrap();
        assert_eq!(key.check(&token, "E1", NOW.after_ms(59_999)).unwrap().sub, "T01");
        assert!(key.check(&token, "E1", NOW.after_ms(60_000)).unwrap_err().msg.contains("expired"));
        let rooms = vec!["E1".to_owned()];
        let token = make(&TokenOptions { rooms, owner: true, ttl_s: None, ..options() }, &config(), Now::default());
        let claims = key.check(&token.unwrap(), "E1", NOW).unwrap();
        assert_eq!((claims.owner, claims.rooms, claims.exp), (true, Some(vec!["E1".to_owned()]), None));
    }

    #[test]
    fn why_there_is_none_is_one_line() {
        for (options, config, now, says) in [
            (options(), Config::default(), NOW, "a.toml: there is no [auth]"),
            (options(), config(), Now::default(), "this machine's clock is not set"),
            (TokenOptions { rooms: vec!["x".repeat(64); 30], ..options() }, config(), NOW, "a token for so many rooms"),
        ] {
            let error = make(&options, &config, now).unwrap_err();
            assert!(error.starts_with(says) && error.lines().count() == 1, "{error}");
        }
    }
}
