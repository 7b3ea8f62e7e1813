//! What memory a class asks for while it talks: none.
//!
//! Owns: how often memory is asked for, by the hub and by the libraries below it, in all that is between the sockets of a room's members and the
//! room's log; and what is said in ways that do take some. Refuses to know: how much the hub holds.
//!
//! Where the rest is, which is not in the steady state of a class that chats:
//! - serde_json (`ignore_value`) keeps its way back out of what is nested in a content: once for a message whose content has arrays or objects
//!   within one another, and more from the ninth level on, as it doubles.
//! - tungstenite's buffers (bytes' `BytesMut`), of which there are as many as connections had a part of a message at once, grow with the first messages;
//!   after each message of more than 8 KiB, the hub gives the one that has read it back and begins with another.
//! - Strings with escapes in a request's fields (serde_json), messages in fragments (tungstenite), and all that a connection is told alone: replies,
//!   pongs and what had to go before them wait in a queue that holds no memory while it is empty.

mod allocator;
mod class;

use allocator::Allocations;
use class::{CHATS_PER_TURN, Class};
use serde_json::{Value, json};

/// How often memory was asked for while a class of this kind said and heard so many chats; none of it before it has said `before`. If it was more than
/// `most`, says from where.
#[track_caller]
fn allocations(class: &mut Class, before: usize, chats: usize, most: usize) {
    let mut warm_up = Allocations::default();
    while class.heard < before {
        class.talk(&mut warm_up);
    }
    // The room's log grows, and so do what reads what comes and the lists of who is to be read: something is counted.
    assert!(warm_up.count > 0, "nothing before");
    let mut allocations = Allocations::default();
    class.heard = 0;
    while class.heard < chats {
        class.talk(&mut allocations);
    }
    let Allocations { count, from } = allocations;
    let from: Vec<_> = from.iter().take(2).map(ToString::to_string).collect();
    assert!(count <= most as u64, "{count} for {} chats, the first of them from\n{}", class.heard, from.join("\n"));
}

/// Text, and what programs say to each other.
fn usual(n: usize) -> (u16, Value) {
    match n % 4 {
        0 => (101, json!({"id": "poll", "vote": 3, "why": format!("{:.<120}", "because")})),
        _ => (3, json!(format!("{:.<160}", "老师好"))),
    }
}

/// Until the room's log has been full, and compacted, a few times.
const WARM: usize = 10_000;

#[test]
fn a_class_that_chats_asks_for_no_memory() {
    allocations(&mut Class::new(|_| false, usual), WARM, 100_000, 0);
}

#[test]
fn nor_does_one_half_of_which_speaks_sealed() {
    allocations(&mut Class::new(|n| n % 2 == 1, usual), WARM, 100_000, 0);
}

#[test]
fn what_is_nested_asks_once_a_message() {
    let nested = |_| (100, json!({"poll": {"choices": [{"text": "a"}, {"text": "b"}], "votes": [[1, 2], [3]]}}));
    let chats = 20 * CHATS_PER_TURN;
    allocations(&mut Class::new(|_| false, nested), WARM, chats, chats);
}

#[test]
fn what_is_large_asks_for_a_buffer_that_is_not_kept() {
    // Its first place, its growth to the message, and what the message shares it by.
    let large = |_| (3, json!(format!("{:.<2500}", "")));
    let chats = 20 * CHATS_PER_TURN;
    allocations(&mut Class::new(|_| false, large), WARM / 10, chats, 3 * chats);
}
