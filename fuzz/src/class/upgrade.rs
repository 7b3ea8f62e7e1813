//! One process leaves everything to the next.
//!
//! Owns: that what was written down is read again, on the same sockets, and that nothing else becomes of it. Refuses to know: what is written.

use std::io::Cursor;
use std::rc::Rc;

use classhub::base::state::{StateReader, StateWriter};
use classhub::net::exchange::{Exchange, ExchangeState};

use super::Class;
use crate::socket::Socket;

impl Class {
    /// Between two turns. Whoever is in the middle of a message is told to come back.
    pub(super) fn upgrade(&mut self) {
        self.turn();
        self.exchange.prepare(self.now);
        let mut file = Vec::new();
        let mut writer = StateWriter::new(&mut file);
        let number = |socket: &Socket| {
            let place = self.clients.iter().position(|client| Rc::ptr_eq(&client.wire, &socket.0));
            place.expect("every socket is a client's") as i32
        };
        let state = self.exchange.save(&mut writer, number);
        writer.finish(&state).expect("memory takes everything");
        self.hand_over(true);
        let mut file = Cursor::new(file);
        let (mut reader, state): (_, ExchangeState) = StateReader::open(&mut file).expect("it was written just now");
        let socket = |number: i32| Some(Socket(self.clients[number as usize].wire.clone()));
        let next = Exchange::restore(state, &mut reader, self.now, socket);
        self.exchange = next.unwrap_or_else(|(error, _)| panic!("{error}"));
        self.hand_over(false);
        self.apply();
        for key in self.exchange.keys() {
            let wire = self.exchange.stream_mut(key).expect("it is there").0.clone();
            let client = self.clients.iter_mut().find(|client| Rc::ptr_eq(&client.wire, &wire));
            client.expect("every socket is a client's").key = key;
            if wire.borrow_mut().is_watched_anew() {
                self.exchange.write(key);
            }
            let hung_up = wire.borrow().ended || wire.borrow().reset;
            self.exchange.set_readable(key, hung_up);
        }
        self.turn();
    }

    fn hand_over(&mut self, is_handed_over: bool) {
        for client in &self.clients {
            client.wire.borrow_mut().is_handed_over = is_handed_over;
        }
    }
}
