//! Whoever comes, with whatever they see, hear and touch.
//!
//! Owns: the check of every state of the page by axe-core, in both languages, light and dark, from a phone to a projector. Refuses to know: what
//! the page is for.
//!
//! axe-core is a development tool, and no part of the hub: `npm install --prefix target/axe axe-core@4`, or `CLASSHUB_AXE` says where its
//! `axe.min.js` is. Without it the test says so and passes; where `CI` is `true` it fails instead.

use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::{Value, json};

use crate::chromium::{Browser, Tab};
use crate::common::{Client, Hub, ROOM, join, said};

fn axe() -> Option<String> {
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/axe/node_modules/axe-core/axe.min.js");
    let file = env::var_os("CLASSHUB_AXE").map_or(usual, PathBuf::from);
    let source = fs::read_to_string(&file);
    if source.is_err() {
        let missing = format!("no axe-core at {}: npm install --prefix target/axe axe-core@4", file.display());
        assert!(env::var("CI").as_deref() != Ok("true"), "{missing}");
        println!("skipped: {missing}");
    }
    source.ok()
}

/// Has the page checked as it stands, light and dark, on a phone, a tablet and a projector.
fn check(browser: &mut Browser, axe: &str, tab: &Tab, what: &str) {
    for language in ["zh", "en"] {
        browser.eval(tab, &format!("byId('language') && !document.documentElement.lang.startsWith('{language}') && byId('language').click()"));
        for (width, height) in [(320, 568), (1024, 768), (1920, 1080)] {
            for is_dark in [false, true] {
                browser.look_at(tab, width, height, is_dark);
                browser.eval(tab, "byId('who') && (byId('who').open = true)");
                let overflow = browser.eval(tab, "document.documentElement.scrollWidth - innerWidth");
                assert!(overflow.as_i64() <= Some(0), "{what} at {width}: {overflow} px too wide");
                if browser.eval(tab, "typeof axe") != "object" {
                    browser.eval(tab, &format!("{axe}; 0"));
                }
                let found = browser.eval_async(
                    tab,
                    "axe.run(document, {resultTypes: ['violations']}).then(({ violations }) => violations.map(it =>
                        it.id + ': ' + it.nodes.map(node => node.html + ' ' + node.failureSummary).join(' | ')))",
                );
                assert_eq!(found, json!([]), "{what}, {language}, {width} px, dark: {is_dark}");
            }
        }
    }
}

#[test]
fn no_state_of_the_page_shuts_anybody_out() {
    let Some(axe) = axe() else { return };
    let Some(mut browser) = Browser::start() else { return };
    let hub = Hub::start("[limits]\nmembers_per_room = 4\n[[room]]\nnumber = \"E00009\"\npasscode = \"melon\"\n");
    let form = browser.open(hub.addr);
    check(&mut browser, &axe, &form, "the form");
    browser.eval(&form, "byId('room').value = ''; byId('join').click()");
    check(&mut browser, &axe, &form, "the form, wrongly filled in");
    let wall = browser.open_empty();
    browser.go(&wall, &format!("http://{}/join?room={ROOM}", hub.addr));
    browser.until(&wall, "byId('qr').naturalWidth > 0");
    check(&mut browser, &axe, &wall, "the projector's page");

    let teacher = browser.join(hub.addr, "en", "Ms Wang");
    check(&mut browser, &axe, &teacher, "an empty room");
    let mut class: Vec<Client> = ["李小明", "عمر", "<b>Anna</b>"]
        .iter()
        .map(|name| {
            let mut client = hub.connect();
            let mut request = join(ROOM, name);
            request["textData"]["data"]["from"]["personName"] = json!(name);
            client.join_with(&request);
            client.send_json(&said(100, ROOM, json!({"up": true})));
            client.send_json(&said(3, ROOM, json!(format!("{name} {}", "long ".repeat(300)))));
            client
        })
        .collect();
    browser.say(&teacher, "Good morning");
    browser.until(
        &teacher,
        "document.querySelectorAll('#talk .said').length === 4 && byId('hands').children.length === 3",
    );
    browser.click(&teacher, "byId('poll-open')");
    check(&mut browser, &axe, &teacher, "a poll being written");
    browser.write(&teacher, "poll-question", "Ready?");
    browser.write(&teacher, "poll-choices", "yes\nno");
    browser.click(&teacher, "byId('poll-ask')");
    browser.until(&teacher, "!!byId('poll')");
    class[0].send_json(&said(101, ROOM, json!({"id": poll_id(&mut browser, &teacher), "vote": 0})));
    browser.until(&teacher, "document.querySelector('#poll .votes').textContent.startsWith('1')");
    for tool in ["lock", "quiet"] {
        browser.click(&teacher, &format!("byId('{tool}')"));
    }
    browser.until(&teacher, "byId('rules').textContent.length > 10");
    browser.eval(&teacher, "[...document.querySelectorAll('#members .remove')].pop().click()");
    check(&mut browser, &axe, &teacher, "a lesson, and somebody about to be removed");
    browser.click(&teacher, "document.querySelector('#members .sure')");
    browser.until(&teacher, "byId('removed').children.length === 1");
    browser.click(&teacher, "document.querySelector('#poll .under button')");
    browser.until(&teacher, "!!document.querySelector('#poll.closed')");
    browser.click(&teacher, "byId('lock')");
    check(&mut browser, &axe, &teacher, "a closed poll, and somebody removed");

    // As a pupil sees it: quiet, with a poll and no keys.
    let pupil = browser.join(hub.addr, "zh", "Pupil");
    browser.until(&pupil, "byId('text').disabled");
    check(&mut browser, &axe, &pupil, "a quiet room");
    let refused = browser.open(hub.addr);
    browser.fill_in(hub.addr, &refused, "en", "One too many");
    browser.until(&refused, "state() === 'refused'");
    check(&mut browser, &axe, &refused, "a refusal");
    browser.write(&refused, "room", "E00009");
    browser.press(&refused, "Enter");
    browser.until(&refused, "!byId('code').hidden");
    check(&mut browser, &axe, &refused, "a passcode that is asked for");
    browser.click(&pupil, "byId('add-room')");
    browser.write(&pupil, "room", "E00002");
    browser.press(&pupil, "Enter");
    browser.until(&pupil, "byId('tabs').children.length === 2 && state() === 'joined'");
    check(&mut browser, &axe, &pupil, "two rooms");
    drop(hub);
    browser.until(&pupil, "!byId('notice').hidden");
    check(&mut browser, &axe, &pupil, "a hub that is gone");
}

fn poll_id(browser: &mut Browser, tab: &Tab) -> Value {
    browser.eval(tab, "byId('poll').dataset.id")
}
