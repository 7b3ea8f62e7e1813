//! The file with the secret that a school signs its tokens with.
//!
//! Owns: finding and reading it, as every file with a secret in it, and what it must be. Refuses to know: what a token is (`hub`).

use std::fs::Metadata;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::Config;
use super::entry::{ConfigError, Entry, quoted};
use crate::host::files;
use crate::hub::TokenKey;
use crate::limits;

/// Reads the file that `entry` names into the key of the tokens.
pub(super) fn read(entry: &Entry<'_>, config: &mut Config) -> Result<(), ConfigError> {
    let name = entry.text()?;
    if name.is_empty() {
        return Err(entry.wrong("it must name a file; where no token is to be asked for, take the key out"));
    }
    let (mut bytes, metadata) = read_file(config, name, limits::SECRET_BYTES + 1)
        .map_err(|error| entry.wrong(format!("{} cannot be read: {error}", quoted(name))))?;
    // What an editor, or `openssl rand -base64 32`, puts behind it.
    bytes.pop_if(|last| *last == b'\n');
    if bytes.len() > limits::SECRET_BYTES {
        return Err(entry.wrong(format!("{} has more than {} bytes", quoted(name), limits::SECRET_BYTES)));
    }
    if bytes.is_empty() {
        return Err(entry.wrong(format!("{} is empty: anybody could make a token", quoted(name))));
    }
    let mut warn = |says: String| config.warnings.push(format!("auth.secret_file: {} {says}", quoted(name)));
    if bytes.len() < limits::SECRET_BYTES_ENOUGH {
        let (few, enough) = (bytes.len(), limits::SECRET_BYTES_ENOUGH);
        warn(format!(
            "has {few} bytes; with fewer than {enough} drawn at random, tokens can be forged sooner or later"
        ));
    }
    if is_for_everybody(&metadata) {
        warn(FOR_EVERYBODY.to_owned());
    }
    config.secret_file = Some(name.to_owned());
    config.hub.token_key = Some(TokenKey::new(bytes));
    Ok(())
}

/// A file that a configuration names lies where that lies, unless it says otherwise: a service runs in no folder in particular.
fn beside(config: Option<&Path>, name: &str) -> PathBuf {
    config.and_then(Path::parent).unwrap_or(Path::new("")).join(name)
}

/// What is wrong with a secret for which that is so.
pub(super) const FOR_EVERYBODY: &str = "can be read by everybody on this machine; chmod o-r would end that";

pub(super) fn is_for_everybody(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & 0o004 != 0
}

/// Reads no more of the file than shows that it has more than `bytes_max`: not every file ends.
pub(super) fn read_file(config: &Config, name: &str, bytes_max: usize) -> io::Result<(Vec<u8>, Metadata)> {
    let file = files::open(&beside(config.file.as_deref(), name), config.again)?;
    let metadata = file.metadata()?;
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes, metadata))
}
