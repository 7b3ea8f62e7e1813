//! The Wi-Fi between a page and its hub.
//!
//! Owns: which bytes get through. Refuses to know: what they say.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use crate::common::cut;

/// Stands between pages and a hub, which are told its address.
pub struct AccessPoint {
    pub addr: SocketAddr,
    air: Arc<Mutex<Air>>,
}

#[derive(Default)]
struct Air {
    off: bool,
    /// What comes over new links stops behind the request head.
    holds: bool,
    /// Both ends of what stands, and of what once did.
    links: Vec<Link>,
}

struct Link {
    page: TcpStream,
    hub: TcpStream,
    fades: Arc<Mutex<Fades>>,
    /// Whether what the page sends waits, and word of a change.
    held: Arc<(Mutex<bool>, Condvar)>,
}

/// What vanishes, though neither end is told.
#[derive(Clone, Copy, Default)]
pub struct Fades {
    pub to_hub: bool,
    pub to_page: bool,
}

impl AccessPoint {
    pub fn before(hub: SocketAddr) -> AccessPoint {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
        let addr = listener.local_addr().expect("it listens");
        let air = Arc::new(Mutex::new(Air::default()));
        let shared = air.clone();
        // Both threads of a link end with it, and this one with the test.
        thread::spawn(move || {
            for page in listener.incoming().map_while(Result::ok) {
                let mut air = shared.lock().expect("nobody panics here");
                if air.off {
                    cut(page);
                    continue;
                }
                let Ok(hub) = TcpStream::connect(hub) else { continue };
                let fades = Arc::default();
                let held = Arc::new((Mutex::new(air.holds), Condvar::new()));
                carry(&page, &hub, &fades, Some(held.clone()), |fades| fades.to_hub);
                carry(&hub, &page, &fades, None, |fades| fades.to_page);
                air.links.push(Link { page, hub, fades, held });
            }
        });
        AccessPoint { addr, air }
    }

    /// Breaks all connections without a word, and lets none come until [`AccessPoint::turn_on`].
    pub fn turn_off(&self) {
        let mut air = self.air.lock().expect("nobody panics here");
        air.off = true;
        for link in air.links.drain(..) {
            for end in [link.page, link.hub] {
                let _gone = end.shutdown(Shutdown::Both);
                cut(end);
            }
        }
    }

    pub fn turn_on(&self) {
        self.air.lock().expect("nobody panics here").off = false;
    }

    /// Whether new connections deliver the page's request head, and nothing behind it for now.
    pub fn hold(&self, holds: bool) {
        self.air.lock().expect("nobody panics here").holds = holds;
    }

    /// What was held back arrives.
    pub fn let_go(&self) {
        for link in &self.air.lock().expect("nobody panics here").links {
            *link.held.0.lock().expect("nobody panics here") = false;
            link.held.1.notify_all();
        }
    }

    /// From now on the connections that stand lose what is sent on them. New ones do not.
    pub fn fade(&self, fades: Fades) {
        for link in &self.air.lock().expect("nobody panics here").links {
            *link.fades.lock().expect("nobody panics here") = fades;
        }
    }
}

/// Carries what one end sends to the other, for as long as both are there.
fn carry(
    from: &TcpStream,
    to: &TcpStream,
    fades: &Arc<Mutex<Fades>>,
    held: Option<Arc<(Mutex<bool>, Condvar)>>,
    is_lost: fn(Fades) -> bool,
) {
    let (mut from, mut to) = (from.try_clone().expect("a handle"), to.try_clone().expect("a handle"));
    let fades = fades.clone();
    thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        let mut is_head = true;
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if let Some((held, changed)) = held.as_deref().filter(|_| !is_head) {
                let wait = changed.wait_while(held.lock().expect("nobody panics here"), |held| *held);
                drop(wait.expect("nobody panics here"));
            }
            is_head = false;
            let lost = is_lost(*fades.lock().expect("nobody panics here"));
            if !lost && to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        // An end that fades is not heard of either.
        if !is_lost(*fades.lock().expect("nobody panics here")) {
            let _gone = to.shutdown(Shutdown::Write);
        }
    });
}
