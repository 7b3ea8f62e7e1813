//! Sockets that the service manager hands over (sd_listen_fds(3)).
//!
//! Owns: which of them the hub takes, and that they are what their names say. Refuses to know: what is served there.
//!
//! They are bound and listen before the hub runs, and go on while it does not: whoever connects while it is started anew waits in the kernel, and is
//! turned away by nobody. It needs no right to ports below 1024 for them, and no network of its own.

use std::net::TcpListener;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd, RawFd};

use socket2::{Domain, Protocol, SockRef, Type};

use super::{Environment, environment, is_for_us, number};
use crate::host::inherited;
use crate::limits;

/// The first of them is always this one.
const FIRST: RawFd = 3;

/// The sockets that were handed over, by the name that each was given (`FileDescriptorName=`).
#[derive(Debug, Default)]
pub struct HandedOver {
    /// Those named `http`.
    pub http: Vec<TcpListener>,
    /// Those named `tls`.
    pub tls: Vec<TcpListener>,
    /// What the operator should hear of the others.
    pub warnings: Vec<String>,
}

impl HandedOver {
    /// Takes over what this process was handed; that there is nothing is the usual answer, and the only one from a second call on. Sockets of other
    /// names are closed, so that nobody waits there for an answer.
    ///
    /// # Errors
    /// What is wrong, where a socket is not what its name says, or the environment says what cannot be.
    pub fn take() -> Result<HandedOver, String> {
        HandedOver::from(&environment, |number| inherited::take(number, |_| true))
    }

    /// The same for a program that follows another in this process, of which it does not know what that has made of them: whatever listens there still
    /// under a name that is known. By now a number may be that of something else, which is left alone.
    #[must_use]
    pub fn take_what_is_left() -> HandedOver {
        HandedOver::left(&environment, |number| inherited::take(number, |it| wrong(it).is_none()))
    }

    fn left(environment: Environment, take: impl Fn(RawFd) -> Option<OwnedFd>) -> HandedOver {
        let mut all = HandedOver::default();
        let names = environment("LISTEN_FDNAMES").unwrap_or_default().to_string_lossy().into_owned();
        if is_for_us(environment, "LISTEN_PID") != Some(true) {
            return all;
        }
        for (number, name) in (FIRST..).zip(names.split(':')) {
            let kind = match name {
                "http" => &mut all.http,
                "tls" => &mut all.tls,
                _ => continue,
            };
            if kind.len() < limits::LISTENERS {
                kind.extend(take(number).map(TcpListener::from));
            }
        }
        all
    }

    fn from(environment: Environment, take: impl Fn(RawFd) -> Option<OwnedFd>) -> Result<HandedOver, String> {
        let mut all = HandedOver::default();
        if is_for_us(environment, "LISTEN_PID") != Some(true) {
            return Ok(all);
        }
        let Some(count) = number(environment, "LISTEN_FDS").transpose()? else { return Ok(all) };
        let names = environment("LISTEN_FDNAMES").unwrap_or_default().to_string_lossy().into_owned();
        let mut names = names.split(':').filter(|_| !names.is_empty());
        // No process has more descriptors than that, and what is not there ends it below.
        for number in FIRST..=RawFd::try_from(count).unwrap_or(RawFd::MAX - FIRST).saturating_add(FIRST - 1) {
            let name = names.next().unwrap_or_default();
            let Some(socket) = take(number) else {
                // After a process has replaced itself by another, its environment still says what was.
                if number == FIRST {
                    break;
                }
                return Err(format!(
                    "systemd says that it hands over {count} sockets, and descriptor {number} is none of them"
                ));
            };
            all.add(name, number, socket)?;
        }
        Ok(all)
    }

    fn add(&mut self, name: &str, number: RawFd, socket: OwnedFd) -> Result<(), String> {
        let kind = match name {
            "http" => &mut self.http,
            "tls" => &mut self.tls,
            _ => {
                self.warnings.push(format!(
                    "descriptor {number} that systemd handed over is named {name:?}, and is closed: FileDescriptorName= should be http or tls"
                ));
                return Ok(());
            }
        };
        if let Some(says) = wrong(socket.as_fd()) {
            return Err(format!(
                "the socket named {name} that systemd handed over (descriptor {number}) should be a TCP socket that listens, and {says}"
            ));
        }
        if kind.len() == limits::LISTENERS {
            return Err(format!("systemd handed over more than {} sockets named {name}", limits::LISTENERS));
        }
        kind.push(TcpListener::from(socket));
        Ok(())
    }
}

/// Why nobody can be accepted there.
fn wrong(socket: BorrowedFd) -> Option<&'static str> {
    let socket = SockRef::from(&socket);
    match (socket.domain(), socket.r#type(), socket.protocol()) {
        (Err(_), ..) => Some("is no socket"),
        (Ok(Domain::IPV4 | Domain::IPV6), Ok(Type::STREAM), Ok(Some(Protocol::TCP))) => match socket.is_listener() {
            Ok(true) => None,
            _ => Some("is one that does not listen (Accept= should be no)"),
        },
        (Ok(Domain::UNIX), ..) => Some("is one of this machine alone (ListenStream= should be a port)"),
        _ => Some("is of another kind (ListenStream= should be a port)"),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::ffi::OsString;
    use std::net::UdpSocket;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// What a process has that was handed these, the first as descriptor 3.
    fn from(variables: &[(&str, &str)], sockets: Vec<OwnedFd>) -> Result<HandedOver, String> {
        let sockets = RefCell::new(sockets.into_iter().map(Some).collect::<Vec<_>>());
        let ours = std::process::id().to_string();
        let lookup = |name: &str| -> Option<OsString> {
            let value = variables.iter().find(|(one, _)| *one == name).map(|(_, value)| *value);
            value.or((name == "LISTEN_PID").then_some(&*ours)).map(Into::into)
        };
        let take = |number: RawFd| sockets.borrow_mut().get_mut((number - FIRST) as usize)?.take();
        HandedOver::from(&lookup, take)
    }

    fn listener() -> OwnedFd {
        TcpListener::bind("127.0.0.1:0").unwrap().into()
    }

    #[track_caller]
    fn refused(names: &str, sockets: Vec<OwnedFd>) -> String {
        let count = sockets.len().to_string();
        from(&[("LISTEN_FDS", &count), ("LISTEN_FDNAMES", names)], sockets).unwrap_err()
    }

    #[test]
    fn nothing_is_handed_over_to_a_hub_that_was_started_by_hand() {
        let nothing = HandedOver::from(&|_| None, |_| panic!("nothing is to be taken")).unwrap();
        assert!(nothing.http.is_empty() && nothing.tls.is_empty() && nothing.warnings.is_empty());
    }

    #[test]
    fn what_was_meant_for_another_process_is_left_alone() {
        for pid in ["1", "", "x"] {
            let all = from(&[("LISTEN_PID", pid), ("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "http")], vec![listener()]);
            assert!(all.unwrap().http.is_empty(), "{pid}");
        }
    }

    #[test]
    fn sockets_are_sorted_by_their_names() {
        let sockets = vec![listener(), listener(), listener()];
        let all = from(&[("LISTEN_FDS", "3"), ("LISTEN_FDNAMES", "http:tls:http")], sockets).unwrap();
        assert_eq!((all.http.len(), all.tls.len()), (2, 1));
        assert!(all.warnings.is_empty());
    }

    #[test]
    fn other_names_are_closed_and_told() {
        let sockets = vec![listener(), listener(), listener()];
        let all = from(&[("LISTEN_FDS", "3"), ("LISTEN_FDNAMES", "web:http")], sockets).unwrap();
        assert_eq!((all.http.len(), all.tls.len()), (1, 0));
        let [web, nameless] = &all.warnings[..] else { panic!("{:?}", all.warnings) };
        assert!(web.contains("descriptor 3") && web.contains("\"web\""), "{web}");
        assert!(nameless.contains("descriptor 5") && nameless.contains("FileDescriptorName="), "{nameless}");
    }

    #[test]
    fn a_socket_that_is_no_listening_one_is_refused_by_name() {
        let udp = refused("http:tls", vec![listener(), UdpSocket::bind("127.0.0.1:0").unwrap().into()]);
        assert!(udp.contains("named tls") && udp.contains("descriptor 4") && udp.contains("another kind"), "{udp}");

        let accepting = TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = std::net::TcpStream::connect(accepting.local_addr().unwrap()).unwrap();
        let connected = refused("http", vec![connection.into()]);
        assert!(connected.contains("named http") && connected.contains("does not listen"), "{connected}");

        let name = std::env::temp_dir().join(format!("classhub-{}-sockets", std::process::id()));
        let unix = UnixListener::bind(&name).unwrap();
        std::fs::remove_file(&name).unwrap();
        let local = refused("http", vec![unix.into()]);
        assert!(local.contains("this machine alone"), "{local}");

        let file = refused("http", vec![std::fs::File::open("/dev/null").unwrap().into()]);
        assert!(file.contains("is no socket"), "{file}");
    }

    #[test]
    fn an_environment_that_cannot_be_is_refused() {
        let says = from(&[("LISTEN_FDS", "two")], vec![]).unwrap_err();
        assert!(says.contains("LISTEN_FDS") && says.contains("two"), "{says}");
        let says = from(&[("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "http:http")], vec![listener()]).unwrap_err();
        assert!(says.contains("descriptor 4"), "{says}");
        let says = from(&[("LISTEN_FDS", "18446744073709551615")], vec![listener()]).unwrap_err();
        assert!(says.contains("descriptor 4"), "{says}");
    }

    #[test]
    fn what_was_taken_already_is_no_error() {
        let all = from(&[("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "http")], vec![]).unwrap();
        assert!(all.http.is_empty());
    }

    #[test]
    fn of_what_another_program_has_taken_whatever_still_listens_is_left() {
        let sockets = [Some(listener()), None, Some(listener()), Some(UdpSocket::bind("127.0.0.1:0").unwrap().into())];
        let sockets = RefCell::new(sockets);
        let ours = std::process::id().to_string();
        let left = |pid: &str| {
            let lookup = |name: &str| -> Option<OsString> {
                match name {
                    "LISTEN_PID" => Some(pid.into()),
                    "LISTEN_FDNAMES" => Some("http:tls:web:http".into()),
                    _ => None,
                }
            };
            let take = |number: RawFd| {
                let mut sockets = sockets.borrow_mut();
                let it = sockets.get_mut((number - FIRST) as usize)?;
                it.as_ref().is_some_and(|it| wrong(it.as_fd()).is_none()).then(|| it.take())?
            };
            let all = HandedOver::left(&lookup, take);
            (all.http.len(), all.tls.len(), all.warnings.len())
        };
        assert_eq!(left("1"), (0, 0, 0));
        assert_eq!(left(&ours), (1, 0, 0));
        assert!(sockets.borrow()[2].is_some(), "of a name that is not known");
    }

    #[test]
    fn there_is_an_end_to_how_many() {
        let count = limits::LISTENERS + 1;
        let sockets: Vec<OwnedFd> = (0..count).map(|_| listener()).collect();
        let says = refused(&vec!["tls"; count].join(":"), sockets);
        assert!(says.contains("more than 32 sockets named tls"), "{says}");
    }
}
