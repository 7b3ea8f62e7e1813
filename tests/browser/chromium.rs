//! Just enough of Chromium's DevTools protocol to drive it.
//!
//! Owns: a browser, its tabs, and what they complained about. Refuses to know: the page. It is JSON over WebSocket, which this package
//! speaks anyway, so that no library with a browser's whole protocol in it has to be built for one test.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

/// What a page may take to get anywhere. A slow board's page waits up to 8 s between two tries.
const PATIENCE: Duration = Duration::from_secs(30);

fn find_chromium() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .flat_map(|folder| ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name)))
        .find(|file| file.is_file())
}

/// One page, known by its DevTools session.
pub struct Tab {
    target: String,
    session: String,
    /// What it shares storage with: a person's browser.
    context: String,
}

pub struct Browser {
    child: Child,
    profile: PathBuf,
    socket: WebSocket<TcpStream>,
    calls: u64,
    /// What pages complained about so far: exceptions, and console messages above plain ones. What a
    /// page complains of comes in before the next answer that it gives.
    pub complaints: Vec<String>,
    /// Every URL that was asked for.
    pub requests: Vec<String>,
}

impl Browser {
    /// A browser; `None` where there is none on this machine, which has been said.
    pub fn start() -> Option<Browser> {
        let Some(chromium) = find_chromium() else {
            let missing = "no Chromium in the PATH: install one, such as Debian's package `chromium`";
            assert!(env::var("CI").as_deref() != Ok("true"), "{missing}");
            println!("skipped: {missing}");
            return None;
        };
        // Tests of one process run beside each other.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("chromium-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let profile = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&profile);
        let mut child = Command::new(chromium)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            // A container's /dev/shm is too small for it.
            .arg("--disable-dev-shm-usage")
            // Nobody looks at either tab; both are to run as if somebody did.
            .args(["--disable-background-timer-throttling", "--disable-renderer-backgrounding"])
            .arg("--disable-backgrounding-occluded-windows")
            .arg("--remote-debugging-port=0")
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Chromium starts");
        // Its complaints about the machine it runs on are nobody's here.
        let url = announced(&mut child, "DevTools listening on ", drop);
        let host = url.split('/').nth(2).expect("the DevTools URL has a host");
        let stream = TcpStream::connect(host).expect("Chromium listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a period above 0 is taken");
        let (socket, _) = tungstenite::client(url.as_str(), stream).expect("Chromium speaks WebSocket");
        Some(Browser { child, profile, socket, calls: 0, complaints: Vec::new(), requests: Vec::new() })
    }

    /// Opens the page in a browser of somebody else's: it remembers nothing of the others.
    pub fn open(&mut self, addr: SocketAddr) -> Tab {
        let tab = self.open_empty();
        self.load(&tab, addr);
        tab
    }

    /// Opens nothing in a browser of somebody else's.
    pub fn open_empty(&mut self) -> Tab {
        let context = self.call(None, "Target.createBrowserContext", json!({}));
        let context = context["browserContextId"].as_str().expect("a context has an id").to_owned();
        let downloads =
            json!({"behavior": "allow", "browserContextId": context, "downloadPath": self.profile.join(&context)});
        self.call(None, "Browser.setDownloadBehavior", downloads);
        self.open_in(context)
    }

    /// Opens nothing in the browser where this tab is.
    pub fn open_beside(&mut self, other: &Tab) -> Tab {
        self.open_in(other.context.clone())
    }

    fn open_in(&mut self, context: String) -> Tab {
        let create = json!({"url": "about:blank", "newWindow": true, "browserContextId": context});
        let target = self.call(None, "Target.createTarget", create);
        let target = target["targetId"].as_str().expect("a target has an id").to_owned();
        let attach = json!({"targetId": target, "flatten": true});
        let session = self.call(None, "Target.attachToTarget", attach);
        let session = session["sessionId"].as_str().expect("a session has an id").to_owned();
        let tab = Tab { target, session, context };
        for method in ["Runtime.enable", "Log.enable", "Page.enable", "Network.enable"] {
            self.call(Some(&tab), method, json!({}));
        }
        self.call(Some(&tab), "Emulation.setFocusEmulationEnabled", json!({"enabled": true}));
        // What the questions of this test are made of.
        let words = "window.byId = id => document.getElementById(id);
            window.text = id => byId(id).textContent;
            window.state = () => byId('state').dataset.state;
            window.members = () => [...byId('members').querySelectorAll('bdi.name')].map(e => e.textContent).join('|');
            window.said = name => [...document.querySelectorAll('#talk .said')]
                .filter(e => e.querySelector('bdi').textContent === name).map(e => e.querySelector('p').textContent);";
        self.call(Some(&tab), "Page.addScriptToEvaluateOnNewDocument", json!({"source": words}));
        tab
    }

    pub fn load(&mut self, tab: &Tab, addr: SocketAddr) {
        self.go(tab, &format!("http://{addr}/?room=E00001"));
        self.until(tab, "byId('room').value === 'E00001'");
    }

    /// Goes to a URL, and waits until all of it is there.
    pub fn go(&mut self, tab: &Tab, url: &str) {
        // The mark is gone when the next document is there.
        self.eval(tab, "window.stale = true");
        self.call(Some(tab), "Page.navigate", json!({"url": url}));
        self.until(tab, "!window.stale && document.readyState === 'complete'");
    }

    /// Loads the page again, as a person would.
    pub fn reload(&mut self, tab: &Tab) {
        self.eval(tab, "window.stale = true");
        self.call(Some(tab), "Page.reload", json!({}));
        self.until(tab, "!window.stale && document.readyState === 'complete'");
    }

    /// Has the tab believe any certificate, as if its authority had been installed.
    #[cfg(feature = "tls")]
    pub fn trust(&mut self, tab: &Tab) {
        self.call(Some(tab), "Security.setIgnoreCertificateErrors", json!({"ignore": true}));
    }

    /// Sets what the page is seen on: its size in CSS pixels, and whether dark colours are preferred.
    pub fn look_at(&mut self, tab: &Tab, width: u32, height: u32, is_dark: bool) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call(Some(tab), "Emulation.setDeviceMetricsOverride", size);
        let scheme = if is_dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call(Some(tab), "Emulation.setEmulatedMedia", media);
    }

    /// What the tab's browser has downloaded, once it is one whole file: its name and what is in it.
    pub fn downloaded(&mut self, tab: &Tab) -> (String, Vec<u8>) {
        let folder = self.profile.join(&tab.context);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let files = fs::read_dir(&folder).into_iter().flatten().map_while(Result::ok);
            let names: Vec<String> = files.filter_map(|file| file.file_name().into_string().ok()).collect();
            if let [name] = &names[..]
                && !name.ends_with(".crdownload")
                && let Ok(bytes) = fs::read(folder.join(name))
                && !bytes.is_empty()
            {
                return (name.clone(), bytes);
            }
            assert!(Instant::now() < deadline, "not downloaded in time: {names:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Writes what the tab shows into a file, as PNG.
    pub fn picture(&mut self, tab: &Tab, file: &Path) {
        let shot = self.call(Some(tab), "Page.captureScreenshot", json!({"format": "png"}));
        let base64 = shot["data"].as_str().expect("a picture is text here");
        // Chromium speaks base64, and this is the one place that has to.
        let digits = base64.bytes().filter(|byte| *byte != b'=').map(|byte| match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            _ => 63,
        });
        let digits: Vec<u8> = digits.collect();
        let bytes = digits.chunks(4).flat_map(|four| {
            let bits = four.iter().fold(0u32, |bits, digit| bits << 6 | u32::from(*digit)) << (6 * (4 - four.len()));
            let [_, a, b, c] = bits.to_be_bytes();
            [a, b, c].into_iter().take(four.len() - 1)
        });
        fs::write(file, bytes.collect::<Vec<u8>>()).expect("the picture's folder can be written");
    }

    /// A click where the pointer would do it; fails where the element cannot be clicked.
    pub fn click(&mut self, tab: &Tab, element: &str) {
        self.until(tab, &format!("!!({element}) && !({element}).disabled && ({element}).getClientRects().length > 0"));
        self.eval(tab, &format!("({element}).click()"));
    }

    /// A key pressed and let go, as a person with a keyboard alone would.
    pub fn press(&mut self, tab: &Tab, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            " " => (32, " "),
            "Escape" => (27, ""),
            other => panic!("a key that this test does not know: {other}"),
        };
        for event in ["keyDown", "keyUp"] {
            let text = if event == "keyDown" { text } else { "" };
            let pressed = json!({"type": event, "key": key, "code": key, "text": text, "windowsVirtualKeyCode": code});
            self.call(Some(tab), "Input.dispatchKeyEvent", pressed);
        }
    }

    /// Opens the page and takes a seat in the room.
    pub fn join(&mut self, addr: SocketAddr, language: &str, name: &str) -> Tab {
        let tab = self.open(addr);
        self.fill_in(addr, &tab, language, name);
        self.until(&tab, "state() === 'joined' && byId('enter').hidden");
        tab
    }

    pub fn fill_in(&mut self, addr: SocketAddr, tab: &Tab, language: &str, name: &str) {
        self.load(tab, addr);
        self.speak(tab, language);
        self.write(tab, "name", name);
        self.eval(tab, "byId('join').click()");
    }

    /// Sees to it that the page speaks this language.
    pub fn speak(&mut self, tab: &Tab, language: &str) {
        let speaks = format!("document.documentElement.lang.startsWith('{language}') || byId('language').click()");
        self.eval(tab, &speaks);
    }

    /// Types into whatever has the focus.
    pub fn type_text(&mut self, tab: &Tab, text: &str) {
        self.call(Some(tab), "Input.insertText", json!({"text": text}));
    }

    /// Types into a field, in place of what was there.
    pub fn write(&mut self, tab: &Tab, id: &str, text: &str) {
        self.eval(tab, &format!("byId('{id}').focus(); byId('{id}').select()"));
        self.call(Some(tab), "Input.insertText", json!({"text": text}));
    }

    pub fn say(&mut self, tab: &Tab, text: &str) {
        self.write(tab, "text", text);
        self.press(tab, "Enter");
        self.until(tab, "byId('text').value === ''");
    }

    /// Waits until the page answers the question with yes.
    pub fn until(&mut self, tab: &Tab, question: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let asked = json!({"expression": question, "returnByValue": true});
            let answer = self.call(Some(tab), "Runtime.evaluate", asked);
            if answer["result"]["value"] == true {
                return;
            }
            if Instant::now() > deadline {
                let seen = self.eval(tab, "document.body.innerText");
                panic!("not in time: {question}\n(last answer: {answer})\nThe page shows:\n{seen}");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn eval(&mut self, tab: &Tab, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true});
        let mut answer = self.call(Some(tab), "Runtime.evaluate", asked);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// What a promise comes to.
    pub fn eval_async(&mut self, tab: &Tab, promise: &str) -> Value {
        let asked = json!({"expression": promise, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call(Some(tab), "Runtime.evaluate", asked);
        assert!(answer.get("exceptionDetails").is_none(), "{promise}: {answer}");
        answer["result"]["value"].take()
    }

    pub fn close(&mut self, tab: Tab) {
        self.call(None, "Target.closeTarget", json!({"targetId": tab.target}));
    }

    fn call(&mut self, tab: Option<&Tab>, method: &str, params: Value) -> Value {
        self.calls += 1;
        let id = self.calls;
        let mut request = json!({"id": id, "method": method, "params": params});
        if let Some(tab) = tab {
            request["sessionId"] = json!(tab.session);
        }
        let request = Message::text(request.to_string());
        self.socket.send(request).expect("Chromium is there");
        loop {
            let message = self.socket.read().expect("Chromium answers in time");
            let Ok(text) = message.to_text() else { continue };
            let mut said: Value = serde_json::from_str(text).unwrap_or_default();
            if said["id"] == id {
                assert!(said.get("error").is_none(), "{method}: {said}");
                return said["result"].take();
            }
            self.listen(&said);
        }
    }

    fn listen(&mut self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => self.complaints.push(params["exceptionDetails"].to_string()),
            Some("Network.requestWillBeSent") => {
                self.requests.push(params["request"]["url"].as_str().unwrap_or_default().to_owned());
            }
            Some("Network.webSocketCreated") => {
                self.requests.push(params["url"].as_str().unwrap_or_default().to_owned());
            }
            Some("Runtime.consoleAPICalled") if params["type"] != "log" => {
                self.complaints.push(params["args"].to_string());
            }
            Some("Log.entryAdded") if params["entry"]["level"] != "verbose" => {
                let text = params["entry"]["text"].as_str().unwrap_or_default();
                self.complaints.push(text.to_owned());
            }
            _ => {}
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked, it ends its own children; killed, it might leave some behind.
        let close = Message::text(json!({"id": 0, "method": "Browser.close"}).to_string());
        let _ = self.socket.send(close);
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.profile);
    }
}

/// Reads what a program says at its start until a line has `before`, and gives what follows it there.
/// All other lines go to `heard`, to the end, so that the program never waits for a reader.
fn announced(child: &mut Child, before: &str, heard: fn(String)) -> String {
    let mut lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
    let found = loop {
        let line = lines.next().expect("the program starts").expect("stderr can be read");
        if let Some((_, rest)) = line.split_once(before) {
            break rest.trim().to_owned();
        }
        heard(line);
    };
    thread::spawn(move || lines.map_while(Result::ok).for_each(heard));
    found
}
