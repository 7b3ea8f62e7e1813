//! How one program follows another in this process.
//!
//! Owns: the file in memory that a state lies in, which descriptors outlive the exec, and that no signal is lost meanwhile. Refuses to know: what the
//! state says, and what the descriptors are (`net::upgrade`).
//!
//! The process stays: its number, its descriptors, its place with the service manager. Nothing is written to any disk.

use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::iter;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process;

use nix::sys::signal::{SigSet, SigmaskHow};
use nix::unistd::execve;
use rustix::fs::{Access, MemfdFlags, access, fcntl_get_seals, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use socket2::{Domain, SockRef, Type};

use super::inherited;

/// Names the descriptor of the state that was left, and the process that it was left to: `7 of 1234`.
const LEFT: &str = "CLASSHUB_STATE";

/// The program of this process, as it was started: by now its file may hold another.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// What this process runs. To be asked at its start: later the system only knows that the file was replaced.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn of_this_process() -> io::Result<Program> {
        Ok(Program { path: env::current_exe()?, arguments: env::args_os().skip(1).collect() })
    }

    /// Where the program lies.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Whether there is anything that may be run. Whether it can be, only [`Program::follow`] tells.
    ///
    /// # Errors
    /// What the system says where there is nothing, or it may not.
    pub fn check(&self) -> io::Result<()> {
        Ok(access(&self.path, Access::EXEC_OK)?)
    }

    /// Runs what lies there now instead of this program, with the same arguments, and leaves it `state` and whatever is `kept`. It returns only where
    /// that fails, with the reason; then everything is as before. The signals that are held wait for the next program ([`hear_signals`]).
    #[must_use]
    pub fn follow(&self, _held: &Held, state: &File, kept: &[BorrowedFd]) -> io::Error {
        let kept = || kept.iter().copied().chain([state.as_fd()]);
        let failed = match kept().try_for_each(|kept| fcntl_setfd(kept, FdFlags::empty())) {
            Ok(()) => self.exec(&format!("{} of {}", state.as_raw_fd(), process::id())),
            Err(error) => error.into(),
        };
        for kept in kept() {
            // They were open when this was asked of them the first time, and are.
            let _set = fcntl_setfd(kept, FdFlags::CLOEXEC);
        }
        failed
    }

    /// The system call itself, since what the standard library has around it changes how this process takes SIGPIPE, and gives to a shell whatever is no
    /// program.
    fn exec(&self, left: &str) -> io::Error {
        let path = self.path.as_os_str();
        let arguments = iter::once(path).chain(self.arguments.iter().map(OsString::as_os_str)).map(c_string);
        let inherited = env::vars_os().filter(|(name, _)| name != LEFT);
        let variables = inherited.chain([(LEFT.into(), left.into())]).map(|(name, value)| {
            let mut variable = name;
            variable.push("=");
            variable.push(value);
            c_string(&variable)
        });
        let all = || -> io::Result<_> {
            Ok((
                c_string(path)?,
                arguments.collect::<io::Result<Vec<_>>>()?,
                variables.collect::<io::Result<Vec<_>>>()?,
            ))
        };
        match all() {
            Ok((path, arguments, variables)) => {
                let Err(failed) = execve(&path, &arguments, &variables);
                failed.into()
            }
            Err(error) => error,
        }
    }
}

/// As the system takes it. What this process was started with has no zero byte inside.
fn c_string(text: &OsStr) -> io::Result<CString> {
    Ok(CString::new(text.as_bytes())?)
}

/// Signals wait for as long as this is held.
#[derive(Debug)]
pub struct Held {
    before: SigSet,
}

/// Lets signals wait, until a program listens for them: unheard, most would end it.
///
/// # Errors
/// Only where the system is asked for what no system has.
pub fn hold_signals() -> io::Result<Held> {
    Ok(Held { before: SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)? })
}

impl Drop for Held {
    fn drop(&mut self) {
        // They were so before.
        let _set = self.before.thread_set_mask();
    }
}

/// Lets signals come that have waited since the program before.
pub fn hear_signals() {
    // It fails only where it is asked for what no system has.
    let _set = SigSet::all().thread_unblock();
}

/// A file in memory, for a state.
///
/// # Errors
/// Where the system has no memory or no descriptor for it.
pub fn file() -> io::Result<File> {
    // It can be sealed, which shows the next program that it is such a file.
    Ok(File::from(memfd_create("classhub-state", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?))
}

/// The state that the program before has left to this one, if there was one. To be asked once.
#[must_use]
pub fn left() -> Option<File> {
    let left = env::var(LEFT).ok()?;
    let (number, process) = left.split_once(" of ")?;
    if process.parse() != Ok(process::id()) {
        return None;
    }
    // Whatever else may be there by that number was not left by us.
    inherited::take(number.parse().ok()?, |file| fcntl_get_seals(file).is_ok()).map(File::from)
}

/// A connection that was left open by its number; `None` where it is none.
#[must_use]
pub fn connection(number: RawFd) -> Option<TcpStream> {
    inherited::take(number, |it| is_tcp(it, false)).map(TcpStream::from)
}

/// A listening socket that was left open by its number; `None` where it is none.
#[must_use]
pub fn listener(number: RawFd) -> Option<TcpListener> {
    inherited::take(number, |it| is_tcp(it, true)).map(TcpListener::from)
}

/// Every connection that was left open, and was not taken over: for a state that cannot be read.
#[must_use]
pub fn connections() -> Vec<TcpStream> {
    open_descriptors().into_iter().filter_map(connection).collect()
}

/// The same of every listening socket.
#[must_use]
pub fn listeners() -> Vec<TcpListener> {
    open_descriptors().into_iter().filter_map(listener).collect()
}

fn open_descriptors() -> Vec<RawFd> {
    let Ok(all) = fs::read_dir("/proc/self/fd") else { return Vec::new() };
    // To the end before any is taken, since the listing has one of its own.
    all.filter_map(|one| one.ok()?.file_name().to_str()?.parse().ok()).collect()
}

fn is_tcp(socket: BorrowedFd, listens: bool) -> bool {
    let socket = SockRef::from(&socket);
    let is_stream = socket.r#type().is_ok_and(|kind| kind == Type::STREAM);
    let is_inet = socket.domain().is_ok_and(|domain| [Domain::IPV4, Domain::IPV6].contains(&domain));
    is_stream && is_inet && socket.is_listener().is_ok_and(|is_listener| is_listener == listens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_cannot_be_run_leaves_everything_as_it_was() {
        let nowhere = Program { path: "/nowhere/classhub".into(), arguments: Vec::new() };
        let (state, kept) = (file().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let signals = SigSet::thread_get_mask().unwrap();
        let held = hold_signals().unwrap();
        let failed = nowhere.follow(&held, &state, &[kept.as_fd()]);
        drop(held);
        assert_eq!(failed.kind(), io::ErrorKind::NotFound);
        for one in [state.as_fd(), kept.as_fd()] {
            assert!(rustix::io::fcntl_getfd(one).unwrap().contains(FdFlags::CLOEXEC));
        }
        assert_eq!(SigSet::thread_get_mask().unwrap(), signals);
    }

    #[test]
    fn nothing_is_left_where_nobody_was_before() {
        assert!(left().is_none());
    }

    #[test]
    fn only_what_it_is_asked_for_is_taken() {
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        // What is something else stays open, for whomever it is.
        let number = |socket: std::os::fd::OwnedFd| {
            fcntl_setfd(&socket, FdFlags::empty()).unwrap();
            std::os::fd::IntoRawFd::into_raw_fd(socket)
        };
        let connected = TcpStream::connect(listening.local_addr().unwrap()).unwrap();
        assert!(connection(number(listening.try_clone().unwrap().into())).is_none());
        assert!(listener(number(listening.try_clone().unwrap().into())).is_some());
        assert!(listener(number(connected.try_clone().unwrap().into())).is_none());
        assert!(connection(number(connected.into())).is_some());
        assert!(connection(number(file().unwrap().into())).is_none());
    }
}
