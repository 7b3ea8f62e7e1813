//! An echo server on `net::conn` alone: proof that the transport needs no hub.
//!
//!     cargo run --release --example echo -- 127.0.0.1:9001
//!
//! It sends every message back as it came, of up to 64 MiB, and reads on only when the last answer is on its way.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use classhub::net::conn::{Conn, Decoders, Filled, Head, What};
use classhub::net::http::{self, Asker, Route, Site};
use classhub::wire::frame;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(0);
const MESSAGE_BYTES: u32 = 64 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".into());
    let mut listener = TcpListener::bind(address.parse()?)?;
    println!("echoing on ws://{}", listener.local_addr()?);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut conns: HashMap<Token, Conn<TcpStream>> = HashMap::new();
    let mut events = Events::with_capacity(256);
    let mut buffer = vec![0; 64 * 1024];
    let mut decoders = Decoders::default();
    let mut newest = LISTENER;
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    newest = Token(newest.0 + 1);
                    poll.registry().register(&mut stream, newest, Interest::READABLE | Interest::WRITABLE)?;
                    conns.insert(newest, Conn::new(stream));
                }
            } else if let Some(conn) = conns.get_mut(&event.token()) {
                if event.is_writable() {
                    conn.unblock();
                }
                if !echo(conn, &mut buffer, &mut decoders) {
                    conns.remove(&event.token());
                }
            }
        }
    }
}

/// Reads and answers until the socket has no more or takes no more. Says whether the connection lives on.
fn echo(conn: &mut Conn<TcpStream>, buffer: &mut [u8], decoders: &mut Decoders) -> bool {
    loop {
        conn.flush();
        if conn.is_blocked() {
            return !conn.is_broken();
        }
        let mut input = match conn.fill(buffer) {
            Filled::Bytes(count) => &buffer[..count],
            Filled::Nothing => return true,
            Filled::End => return false,
        };
        if conn.awaits_head() {
            // There are no figures to be shown, and so nobody is from this machine.
            let asker = Asker { address: Ipv4Addr::UNSPECIFIED.into(), metrics: &String::new };
            match conn.head(&mut input) {
                Head::Incomplete => continue,
                Head::TooLong => conn.refuse(&http::head_too_long()),
                Head::Complete(head) => match http::route(&head, &Site::default(), &asker) {
                    Route::Upgrade(response) => conn.upgrade(&response, MESSAGE_BYTES),
                    Route::Respond(response) | Route::Refuse(response, _) => conn.refuse(&response),
                },
            }
        }
        while let Some(received) = conn.next(&mut input, decoders) {
            match received.what {
                What::Text(text) => send(conn, frame::TEXT, text.as_bytes()),
                What::Binary(bytes) => send(conn, frame::BINARY, &bytes),
                What::Ping(payload) => conn.pong(payload),
                What::Pong | What::Fragment => {}
                What::Close(_) => conn.answer_close(),
                What::Fault(reason) => conn.close(reason),
            }
        }
    }
}

fn send(conn: &mut Conn<TcpStream>, first: u8, payload: &[u8]) {
    conn.keep(|own| frame::append(own, first, |own| own.extend_from_slice(payload)));
}
