//! Descriptors that this process was born with.
//!
//! Owns: taking one over by its number, which is the only thing here that takes `unsafe`. Refuses to know: who left it, and what it is.

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

/// Below are the standard streams, which everybody shares.
const FIRST: RawFd = 3;

/// Takes over what is open at `number` since before this program was begun, and sees to it that no other program inherits it. `None` where that is
/// nothing, or one of our own, or was taken before; or where it is not what it should be, as `fits` says: then it is left as it is, since it may be
/// somebody's.
#[must_use]
#[expect(unsafe_code, reason = "a number becomes a descriptor; the proof is inside")]
pub fn take(number: RawFd, fits: impl FnOnce(BorrowedFd) -> bool) -> Option<OwnedFd> {
    if number < FIRST {
        return None;
    }
    // SAFETY: it is no -1, and is used in this function alone, for calls that ask what it is and one that sets a flag. Where nothing is open there, the
    // first says so, and that is all.
    let it = unsafe { BorrowedFd::borrow_raw(number) };
    if fcntl_getfd(it).ok()?.contains(FdFlags::CLOEXEC) || !fits(it) {
        return None;
    }
    fcntl_setfd(it, FdFlags::CLOEXEC).ok()?;
    // SAFETY: it is open, and nobody else owns it. Whatever this program opens, through the standard library, mio, socket2 or rustix, is opened
    // with FD_CLOEXEC, so what had no such flag came through the exec that began the program; and as it has one from now on, a second call ends
    // above.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd, IntoRawFd};

    use super::*;

    /// What a process that is about to become ours would leave open.
    fn left_open() -> RawFd {
        let file = std::fs::File::open("/dev/null").unwrap();
        fcntl_setfd(&file, FdFlags::empty()).unwrap();
        file.into_raw_fd()
    }

    #[test]
    fn what_was_left_open_is_taken_once_and_handed_on_to_nobody() {
        let number = left_open();
        let taken = take(number, |_| true).unwrap();
        assert_eq!(taken.as_raw_fd(), number);
        assert!(fcntl_getfd(&taken).unwrap().contains(FdFlags::CLOEXEC));
        assert!(take(number, |_| true).is_none());
    }

    #[test]
    fn what_is_somebodys_is_not_taken() {
        let ours = std::fs::File::open("/dev/null").unwrap();
        assert!(take(ours.as_raw_fd(), |_| true).is_none());
        for stream in 0..3 {
            assert!(take(stream, |_| true).is_none());
        }
    }

    #[test]
    fn what_is_something_else_is_left_as_it_is() {
        let number = left_open();
        assert!(take(number, |_| false).is_none());
        assert!(take(number, |it| !fcntl_getfd(it).unwrap().contains(FdFlags::CLOEXEC)).is_some());
    }

    #[test]
    fn where_nothing_is_open_there_is_nothing_to_take() {
        assert!(take(-1, |_| true).is_none());
        assert!(take(RawFd::MAX, |_| true).is_none());
    }
}
