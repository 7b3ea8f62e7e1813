//! The page over TLS, and the page that leads there.
//!
//! Owns: two tabs of one class, of which one is at `https`. Refuses to know: certificates; the browser is told to believe this one.

use std::fs;
use std::path::Path;

use classhub::host::certificates::{Order, issue};

use crate::chromium::Browser;
use crate::common::Hub;

#[test]
fn a_class_meets_whether_encrypted_or_not() {
    let Some(mut browser) = Browser::start() else { return };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("secure-page-{}", std::process::id()));
    let order = Order {
        out: folder.clone(),
        names: Vec::new(),
        host: "board".into(),
        addresses: Vec::new(),
        wall_s: 1_784_073_600,
    };
    issue(&order).expect("the folder is new");
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let hub = Hub::start(&format!("tls.listen = [\"127.0.0.1:0\"]\ntls.cert = {cert:?}\ntls.key = {key:?}\n"));
    fs::remove_dir_all(&folder).expect("the hub has read it");

    let anna = browser.join(hub.addr, "en", "Anna");
    // From the plain page by the link that it shows.
    let li = browser.open_empty();
    browser.trust(&li);
    browser.go(&li, &format!("http://{}/trust", hub.addr));
    let address = format!("https://{}/", hub.secure_addr());
    let link = format!("document.querySelector('a[href=\"{address}\"]')");
    browser.until(&li, &format!("{link}.textContent === '{address}'"));
    browser.look_at(&li, 320, 600, false);
    assert_eq!(browser.eval(&li, "document.documentElement.scrollWidth <= innerWidth"), true);
    browser.look_at(&li, 1000, 700, false);
    browser.go(&li, &format!("{address}?room=E00001"));
    browser.until(&li, "byId('room').value === 'E00001'");
    browser.speak(&li, "zh");
    browser.write(&li, "name", "李小明");
    browser.eval(&li, "byId('join').click()");
    browser.until(&li, "state() === 'joined' && isSecureContext");

    browser.say(&li, "加密的");
    browser.say(&anna, "in the clear");
    for tab in [&li, &anna] {
        browser.until(tab, "said('李小明').includes('加密的') && said('Anna').includes('in the clear')");
    }
    // For the projector too, by the address at which it is.
    browser.go(&li, &format!("{address}join?room=E00001"));
    browser.until(&li, &format!("text('host') === '{}'", hub.secure_addr()));
    browser.until(&li, "byId('qr').naturalWidth > 0");
    assert!(browser.requests.contains(&format!("wss://{}/ws", hub.secure_addr())), "{:?}", browser.requests);
    assert_eq!(browser.complaints, Vec::<String>::new());
}
