//! What a member costs who says nothing.
//!
//! Owns: that an idle member takes at most 1.5 KiB of resident memory, and a hub with nobody connected 4 MiB, asked of the running binary. Refuses to
//! know: where the bytes are.
#![cfg(target_os = "linux")]

mod common;

use common::Hub;

const MEMBERS: usize = 2_000;
const ROOM: usize = 50;
/// Without optimisation the code is many times as large, and what is resident of it too.
const EMPTY_KIB: u64 = if cfg!(debug_assertions) { 8 * 1024 } else { 4 * 1024 };

#[test]
fn an_idle_member_costs_at_most_a_kibibyte_and_a_half() {
    // Both ends of each connection are files here and there; a shell often allows 1,024.
    classhub::host::descriptors::raise(MEMBERS as u64).expect("the test holds 2,000 sockets open");
    let hub = Hub::start("");
    let empty_kib = hub.resident_kib();
    assert!(empty_kib < EMPTY_KIB, "an empty hub takes {empty_kib} KiB");

    // What is run for the first member is resident from then on, and no other costs it again.
    let mut first = common::Client::connect(hub.addr);
    first.join("first", "first");
    let one_kib = hub.resident_kib();

    let mut members = Vec::new();
    for n in 0..MEMBERS {
        let mut client = common::Client::connect(hub.addr);
        client.join(&format!("E{:05}", n / ROOM), &format!("1jt5325h83rf5h9ue6jk8r3h8{n:04}"));
        members.push(client);
    }
    // Whatever was under way for the last of them is done when the hub has answered somebody else.
    let mut last = common::Client::connect(hub.addr);
    last.join("last", "last");
    let bytes = (hub.resident_kib() - one_kib) * 1024 / MEMBERS as u64;
    println!("empty: {empty_kib} KiB; with one member: {one_kib} KiB; each further: {bytes} bytes");
    assert!(bytes <= 1536, "a member takes {bytes} bytes");
    drop(members);
}
