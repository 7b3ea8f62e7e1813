//! Files that the operator wrote.
//!
//! Owns: how they are opened, at the start and while the hub runs. Refuses to know: what is in them, and which there are.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Opens a file to read. At the start it may be anything that can be read, such as a pipe from a program that decrypts it. `again`, while the hub runs,
/// it has to be a regular file: the end of a pipe that was read looks like an empty file, and the beginning of one may never come.
///
/// # Errors
/// What the system says, or that the file is none that can be read again.
pub fn open(path: &Path, again: bool) -> io::Result<File> {
    if again && !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file, and only such can be read again while the hub runs"));
    }
    File::open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_regular_file_is_read_at_the_start_alone() {
        let [regular, device] = ["Cargo.toml", "/dev/null"].map(Path::new);
        assert!(open(regular, false).is_ok() && open(regular, true).is_ok() && open(device, false).is_ok());
        let says = open(device, true).unwrap_err().to_string();
        assert!(says.starts_with("it is no regular file"), "{says}");
        assert_eq!(open(Path::new("/nowhere"), true).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
