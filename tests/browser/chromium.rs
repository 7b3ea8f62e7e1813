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
}

pub struct Browser {
    child: Child,
    profile: PathBuf,
    socket: WebSocket<TcpStream>,
    calls: u64,
    /// What pages complained about so far: exceptions, and console messages above plain ones. What a
    /// page complains of comes in before the next answer that it gives.
    pub complaints: Vec<String>,
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
        Some(Browser { child, profile, socket, calls: 0, complaints: Vec::new() })
    }

    /// Opens the page in a new tab.
    pub fn open(&mut self, addr: SocketAddr) -> Tab {
        let target = self.call(None, "Target.createTarget", json!({"url": "about:blank", "newWindow": true}));
        let target = target["targetId"].as_str().expect("a target has an id").to_owned();
        let attach = json!({"targetId": target, "flatten": true});
        let session = self.call(None, "Target.attachToTarget", attach);
        let session = session["sessionId"].as_str().expect("a session has an id").to_owned();
        let tab = Tab { target, session };
        for method in ["Runtime.enable", "Log.enable", "Page.enable"] {
            self.call(Some(&tab), method, json!({}));
        }
        self.call(Some(&tab), "Emulation.setFocusEmulationEnabled", json!({"enabled": true}));
        // What the questions of this test are made of.
        let words = "window.byId = id => document.getElementById(id);
            window.text = id => byId(id).textContent;
            window.state = () => byId('state').dataset.state;
            window.members = () => [...byId('members').querySelectorAll('bdi')].map(e => e.textContent).join('|');
            window.said = name => [...document.querySelectorAll('#talk .said')]
                .filter(e => e.querySelector('bdi').textContent === name).map(e => e.querySelector('p').textContent);";
        self.call(Some(&tab), "Page.addScriptToEvaluateOnNewDocument", json!({"source": words}));
        self.load(&tab, addr);
        tab
    }

    pub fn load(&mut self, tab: &Tab, addr: SocketAddr) {
        // The mark is gone when the next document is there.
        self.eval(tab, "window.stale = true");
        self.call(Some(tab), "Page.navigate", json!({"url": format!("http://{addr}/?room=E00001")}));
        self.until(tab, "!window.stale && document.readyState === 'complete' && byId('room').value === 'E00001'");
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
        let speaks = format!("document.documentElement.lang.startsWith('{language}') || byId('language').click()");
        self.eval(tab, &speaks);
        self.write(tab, "name", name);
        self.eval(tab, "byId('join').click()");
    }

    /// Types into a field, in place of what was there.
    pub fn write(&mut self, tab: &Tab, id: &str, text: &str) {
        self.eval(tab, &format!("byId('{id}').focus(); byId('{id}').select()"));
        self.call(Some(tab), "Input.insertText", json!({"text": text}));
    }

    pub fn say(&mut self, tab: &Tab, text: &str) {
        self.write(tab, "text", text);
        for (event, text) in [("keyDown", "\r"), ("keyUp", "")] {
            let key =
                json!({"type": event, "key": "Enter", "code": "Enter", "text": text, "windowsVirtualKeyCode": 13});
            self.call(Some(tab), "Input.dispatchKeyEvent", key);
        }
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
