//! A real browser on a node: Debian's headless Chromium, driven by WebDriver (W3C) through its chromedriver.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{Invocation, Node, Result, daemon::Daemon, until};

/// Where chromedriver listens within the node's namespace.
const PORT: u16 = 9515;
/// No window, no sandbox (which root can't have), and nothing that talks to anybody by itself.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// A browser with one window; it ends when dropped.
#[derive(Debug)]
pub struct Browser<'a> {
    node: &'a Node,
    driver: Daemon,
    session: String,
}

impl Node {
    /// Starts a browser in the node's namespace; a node has one at a time.
    ///
    /// # Errors
    /// chromium or chromium-driver is not installed, or does not start.
    pub fn browser(&self) -> Result<Browser<'_>> {
        let folder = self.folder().join("browser");
        fs::create_dir_all(&folder)?;
        let home = folder.display().to_string();
        let invocation =
            self.program("chromedriver").env("HOME", &home).arg(format!("--port={PORT}"));
        let driver = Daemon::new("chromedriver", invocation, self.log_folder().join("browser.log"));
        driver.start()?;
        let mut browser = Browser { node: self, driver, session: String::new() };
        until("chromedriver to listen", || {
            browser.driver.alive()?;
            Ok(browser.ask("GET", "/status", None).ok())
        })?;
        let mut flags = FLAGS.map(str::to_owned).to_vec();
        flags.push(format!("--user-data-dir={home}/profile"));
        let capabilities = json!({
            "goog:chromeOptions": { "args": flags },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        });
        let wish = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let session = browser.ask("POST", "/session", Some(&wish))?;
        let id = session["sessionId"].as_str().context("no session")?;
        browser.session = format!("/session/{id}");
        // The browser's own first page has its own remarks.
        browser.open("about:blank")?;
        browser.console()?;
        browser.requests()?;
        Ok(browser)
    }
}

impl Browser<'_> {
    /// Opens a page and waits until it is loaded.
    ///
    /// # Errors
    /// Nobody serves it.
    pub fn open(&self, url: &str) -> Result {
        self.command("/url", &json!({ "url": url })).map(drop)
    }

    /// Gives the window the size of a screen, in CSS pixels, and the user the wish for a `light` or `dark` page.
    ///
    /// # Errors
    /// Whatever the browser says.
    pub fn look_as(&self, width: u32, height: u32, scheme: &str) -> Result {
        let is_phone = width < 600;
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            &json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone }),
        )?;
        let scheme = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": [scheme] })).map(drop)
    }

    /// What the body of a JavaScript function returns.
    ///
    /// # Errors
    /// It throws.
    pub fn run(&self, script: &str) -> Result<Value> {
        self.command("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The page's text as it is to be seen.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn text(&self) -> Result<String> {
        let text = self.run("return document.body.innerText")?;
        Ok(text.as_str().context("the page has no text")?.to_owned())
    }

    /// What was written to the console since the last call, with its level in front.
    ///
    /// # Errors
    /// Whatever the browser says.
    pub fn console(&self) -> Result<Vec<String>> {
        let log = self.command("/se/log", &json!({ "type": "browser" }))?;
        let line = |entry: &Value| format!("{} {}", entry["level"], entry["message"]);
        Ok(log.as_array().into_iter().flatten().map(line).collect())
    }

    /// The URLs that were asked for since the last call.
    ///
    /// # Errors
    /// Whatever the browser says.
    pub fn requests(&self) -> Result<Vec<String>> {
        let log = self.command("/se/log", &json!({ "type": "performance" }))?;
        let mut urls = Vec::new();
        for entry in log.as_array().into_iter().flatten() {
            let text = entry["message"].as_str().context("an entry without a message")?;
            let event: Value = serde_json::from_str(text)?;
            if event["message"]["method"] == "Network.requestWillBeSent" {
                let url = &event["message"]["params"]["request"]["url"];
                urls.push(url.as_str().context("a request without a URL")?.to_owned());
            }
        }
        Ok(urls)
    }

    /// Writes a picture of the whole page, as PNG.
    ///
    /// # Errors
    /// Whatever the browser says.
    pub fn screenshot(&self, file: &Path) -> Result {
        let wish = json!({ "format": "png", "captureBeyondViewport": true });
        let picture = self.devtools("Page.captureScreenshot", &wish)?;
        let text = picture["data"].as_str().context("no picture")?;
        let decode = format!("base64 -d > '{}'", file.display());
        Invocation::new("sh").args(["-c", &decode]).run_with_input(text).map(drop)
    }

    fn devtools(&self, command: &str, params: &Value) -> Result<Value> {
        self.command("/goog/cdp/execute", &json!({ "cmd": command, "params": params }))
    }

    fn command(&self, path: &str, body: &Value) -> Result<Value> {
        self.ask("POST", &format!("{}{path}", self.session), Some(body))
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let answer = self.node.namespace().inside(|| {
            let mut stream = TcpStream::connect(("127.0.0.1", PORT))?;
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            write!(
                stream,
                "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )?;
            body_of(stream)
        })?;
        let mut answer: Value = serde_json::from_str(&answer)?;
        let value = answer["value"].take();
        if let Some(error) = value["error"].as_str() {
            bail!("the browser says to {path}: {error}: {}", value["message"]);
        }
        Ok(value)
    }
}

/// The body of an answer; chromedriver leaves the connection open after it.
fn body_of(stream: TcpStream) -> Result<String> {
    let mut stream = BufReader::new(stream);
    let mut length = None;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else {
            if line.trim().is_empty() {
                break;
            }
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse()?);
        }
    }
    let mut body = vec![0; length.context("an answer without a length")?];
    stream.read_exact(&mut body)?;
    Ok(String::from_utf8(body)?)
}

impl Drop for Browser<'_> {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = self.ask("DELETE", &self.session, None);
        }
        let _ = self.driver.end(Signal::SIGTERM);
    }
}
