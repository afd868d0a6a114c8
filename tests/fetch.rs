//! `metaburn data fetch`: what does not arrive as it should is refused and leaves nothing behind.

mod common;

use common::{Ran, names, run};
use std::fs;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tiny_http::{Response, Server};

/// The official archive's checksum.
const BACKGROUND: &str = "68d2efa1b9178cc56df9314c21c6e718";

/// A mirror on this machine that answers every request alike, and the paths it was asked for.
struct Mirror {
    server: Arc<Server>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Mirror {
    /// Answers with `status` and `content`.
    fn new(status: u16, content: &'static str) -> Self {
        let server = Arc::new(Server::http("127.0.0.1:0").unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mirror = Self { server: server.clone(), asked: asked.clone() };
        std::thread::spawn(move || {
            for request in server.incoming_requests() {
                asked.lock().unwrap().push(request.url().to_string());
                request.respond(Response::from_string(content).with_status_code(status)).unwrap();
            }
        });
        mirror
    }

    fn url(&self) -> String {
        format!("http://{}/mirror/", self.server.server_addr())
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.server.unblock();
    }
}

/// Fetches from `url` into the folder `to`; the lines that say what is being fetched are left out.
fn fetch(folder: &TempDir, url: &str) -> Ran {
    let ran = run(folder.path(), &format!("data fetch omniglot --url {url} --to to"));
    let messages = ran.stderr.lines().filter(|line| !line.starts_with("fetching images_"));
    Ran { stderr: messages.collect::<Vec<_>>().join("\n"), ..ran }
}

#[test]
fn other_content_is_refused_with_both_checksums_and_thrown_away() {
    let folder = TempDir::new().unwrap();
    let mirror = Mirror::new(200, "hello");
    let url = format!("{}images_background.zip", mirror.url());
    // The MD5 of "hello".
    fetch(&folder, &mirror.url()).failed(&[
        &url,
        "5d41402abc4b2a76b9719d911017c592",
        BACKGROUND,
        "discarded",
    ]);
    assert_eq!(names(&folder.path().join("to")), Vec::<String>::new());
    assert_eq!(mirror.asked(), ["/mirror/images_background.zip"]);
}

#[test]
fn mnist_is_asked_for_by_its_own_names_and_checksums() {
    let folder = TempDir::new().unwrap();
    let mirror = Mirror::new(200, "hello");
    let ran = run(folder.path(), &format!("data fetch mnist --url {}", mirror.url()));
    // The first file's MD5, and the folder that it would have gone to.
    assert!(ran.code == Some(1) && ran.stderr.contains("f68b3c2dcbeaaa9fbdd348bbdeb94873"), "{ran:?}");
    assert_eq!(names(&folder.path().join("datasets/mnist")), Vec::<String>::new());
    assert_eq!(mirror.asked(), ["/mirror/train-images-idx3-ubyte.gz"]);
}

#[test]
fn an_address_without_the_archive_is_named() {
    let folder = TempDir::new().unwrap();
    let mirror = Mirror::new(404, "not here");
    let url = format!("{}images_background.zip", mirror.url());
    fetch(&folder, &mirror.url()).failed(&[&url, "404", "check the address"]);
    assert_eq!(names(&folder.path().join("to")), Vec::<String>::new());
    assert_eq!(mirror.asked().len(), 1);
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let folder = TempDir::new().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
    let url = format!("http://{closed}");
    fetch(&folder, &url).failed(&["cannot reach", &url, "check the connection or the address"]);
    fetch(&folder, "nonsense").failed(&["cannot reach", "nonsense"]);
    assert_eq!(names(&folder.path().join("to")), Vec::<String>::new());
}

#[test]
fn another_file_of_that_name_is_left_alone_and_nothing_is_asked_for() {
    let folder = TempDir::new().unwrap();
    let mine = folder.path().join("to/images_background.zip");
    fs::create_dir(folder.path().join("to")).unwrap();
    fs::write(&mine, "hello").unwrap();
    let mirror = Mirror::new(200, "other");
    let words =
        ["to/images_background.zip", "5d41402abc4b2a76b9719d911017c592", BACKGROUND, "not overwritten"];
    fetch(&folder, &mirror.url()).refused(&words);
    assert_eq!(fs::read(&mine).unwrap(), b"hello");
    assert_eq!(mirror.asked(), Vec::<String>::new());
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("to"), "a file").unwrap();
    fetch(&folder, "http://127.0.0.1:1").refused(&["create the folder `to`"]);
}
