//! What one connection may take of the hub's time: a share of each turn, and not of every turn.
//!
//! Owns: the count of what is read from whom, in a real exchange over sockets of memory. Refuses to know: how long anything takes.

use classhub::hub::Settings;
use classhub::limits;
use classhub::net::exchange::Options;

use super::by_hand::Class;
use super::common::{CONTINUATION, PING, Raw, chat};

/// A megabyte of this waits in a flooder's socket.
fn flood(frame: &Raw) -> Vec<u8> {
    let bytes = frame.bytes();
    bytes.repeat((1 << 20) / bytes.len())
}

/// One turn, as the server takes it. Says how many bytes were read from each of `flooders`.
fn turn(class: &mut Class, flooders: &[usize]) -> Vec<usize> {
    let waiting = |class: &Class| flooders.iter().map(|n| class.wire(*n).input.len()).collect::<Vec<_>>();
    let before = waiting(class);
    class.now = class.now.after_ms(1);
    class.exchange.read_ready(class.now);
    class.exchange.expire(class.now);
    class.exchange.finish(class.now);
    before.into_iter().zip(waiting(class)).map(|(before, after)| before - after).collect()
}

#[test]
fn floods_get_one_read_of_a_turn_and_not_of_every_turn() {
    let whole = Raw::text(&chat("F", &"x".repeat(15_000)).to_string());
    let frames = [Raw::new(PING, ""), Raw::new(CONTINUATION, "").unfinished(), whole];
    for frame in frames {
        let mut class = Class::new(Options::default(), Settings::default());
        for member in 0..10 {
            class.connect();
            class.join(member, "R");
        }
        class.turn();
        let flooders: Vec<usize> = (0..20).map(|_| class.connect()).collect();
        for flooder in &flooders {
            class.join(*flooder, "F");
            class.turn();
            if frame.opcode == CONTINUATION {
                class.input(*flooder, &Raw::text("{").unfinished().bytes());
                class.turn();
            }
        }
        for member in 0..10 {
            class.read(member);
        }
        let bytes = flood(&frame);
        for flooder in &flooders {
            class.input(*flooder, &bytes);
        }
        let mut read = vec![0; flooders.len()];
        for n in 0..1_000 {
            let speaker = n % 10;
            // Twice a second each.
            let speaks = n % 50 < 10 && n < 500;
            if speaks {
                class.say(speaker, "R", &n.to_string());
            }
            for (sum, of_turn) in read.iter_mut().zip(turn(&mut class, &flooders)) {
                assert!(of_turn <= limits::READ_BYTES, "{of_turn} bytes of one connection in one turn");
                *sum += of_turn;
            }
            // Whatever else there is to read, the class hears it with the same turn.
            let expected = if speaks { vec![format!("R {n}")] } else { vec![] };
            for member in 0..10 {
                assert_eq!(class.read(member), expected, "turn {n}");
            }
        }
        let turns = 1_000 / limits::REST_MS as usize + 1;
        for read in read {
            assert!(read >= turns / 2 * limits::READ_BYTES, "{read} bytes in a second: it is not served at all");
            assert!(read <= turns * limits::READ_BYTES, "{read} bytes of one connection in a second");
        }
    }
}

/// Nobody is made to rest where the operator wants no limit, and nobody by more than the limit that there is.
#[test]
fn whoever_may_say_more_is_read_more_often() {
    for (bytes_per_second, at_least) in [(0, 1 << 20), (1 << 19, 1 << 19)] {
        let settings = Settings { messages_per_second: 0, bytes_per_second, ..Settings::default() };
        let mut class = Class::new(Options::default(), settings);
        let flooder = class.connect();
        class.join(flooder, "F");
        class.turn();
        let bytes = flood(&Raw::text(&chat("F", &"x".repeat(15_000)).to_string()));
        class.input(flooder, &bytes);
        let read: usize = (0..1_000).map(|_| turn(&mut class, &[flooder])[0]).sum();
        assert!(read >= at_least.min(bytes.len()), "{read} bytes in a second, of {bytes_per_second} allowed");
    }
}
