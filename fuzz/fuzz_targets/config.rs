//! Any text as a configuration.
//!
//! Owns: what an error must tell, and that a report read back is the configuration that it reports. Refuses to know: which values are legal.
#![no_main]

use classhub::host::config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Config::from_toml(text) {
        Err(error) => {
            assert!(error.key.is_some() || error.line.is_some(), "{error:?}");
            assert!(error.file.is_none() && !error.says.is_empty(), "{error:?}");
            // The end of a file may stand in a line of its own.
            let lines = 1 + text.matches('\n').count();
            assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)), "{error:?}");
            assert!(error.column.is_none_or(|column| column >= 1), "{error:?}");
            let shown = error.to_string();
            assert!(!shown.contains(char::is_control), "{shown:?}");
            assert!(shown.len() <= 2048, "an error of {} bytes", shown.len());
        }
        Ok(mut config) => {
            let report = config.report().to_string();
            let again = Config::from_toml(&report).unwrap_or_else(|error| panic!("{error}, in:\n{report}"));
            for room in &mut config.hub.configured {
                (room.owner_passcode, room.passcode) = (None, None);
            }
            assert_eq!(again.listen, config.listen);
            assert_eq!(again.log, config.log);
            assert_eq!(
                (again.connections, again.connections_per_ip, again.message_bytes, again.reply_bytes),
                (config.connections, config.connections_per_ip, config.message_bytes, config.reply_bytes),
            );
            assert_eq!((&again.allowed_origins, &again.names), (&config.allowed_origins, &config.names));
            assert_eq!(again.hub, config.hub);
            assert_eq!(again.memory(), config.memory());
            assert!(!config.listen.is_empty());
        }
    }
});
