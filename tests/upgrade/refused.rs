//! An upgrade that cannot be, or whose new program does not take what it finds.
//!
//! Owns: that nobody is disconnected by what the operator can still put right, and that no new program ends for it. Refuses to know: what is wrong with a
//! configuration (the tests of reloading).

use std::fs;

use super::common::{Hub, NO_RATES, ROOM, join};

#[test]
fn a_configuration_that_is_wrong_is_said_before_anybody_has_to_go() {
    let hub = Hub::start(NO_RATES);
    let (mut member, mut half) = (hub.join("member"), hub.connect());
    // It could not be handed over, and does not have to be.
    half.send_bytes(&[0x81]);
    for (nth, (wrong, says)) in [
        ("[limits]\nroms = 9\n", "limits.roms (line 2)"),
        ("[auth]\nsecret_file = \"/nowhere/at/all\"\n", "auth.secret_file (line 2)"),
        ("listen = [\n", "line 1, column 11"),
    ]
    .into_iter()
    .enumerate()
    {
        hub.configure(wrong);
        hub.signal_upgrade();
        let line = hub.wait_for_lines("not upgraded", nth + 1).pop().expect("it was waited for");
        assert!(line.starts_with("WARN ") && line.contains("going on as before: ") && line.contains(says), "{line}");
        member.say("still here");
    }
    fs::remove_file(hub.config()).expect("it is there");
    hub.signal_upgrade();
    assert!(hub.wait_for_lines("not upgraded", 4)[3].contains("it cannot be read: No such file"));
    member.say("and still");
    assert!(!hub.lines().iter().any(|line| line.contains("upgrading")), "{:?}", hub.lines());
    // Once it is right, the same signal brings what it says.
    hub.configure("[limits]\nmembers_per_room = 1\n");
    hub.upgrade(1);
    member.say("the same as before");
    let mut second = hub.connect();
    second.send_json(&join(ROOM, "second"));
    second.recv_failure("room_full");
    half.recv_to_close(1001);
}
