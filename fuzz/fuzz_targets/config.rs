//! A configuration's text and, behind a zero, an override. What is accepted survives being written and read again;
//! what is refused is refused in a few words.

#![no_main]

use libfuzzer_sys::fuzz_target;
use metaburn::config::{Config, Error, RawConfig};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (text, set) = text.split_once('\0').unwrap_or((text, ""));
    match read(text, set) {
        Ok(config) => {
            let written = config.to_toml().expect("every path came from text");
            assert_eq!(read(&written, "").expect("what was accepted"), config);
        }
        Err(error) => assert!(error.to_string().len() < 20_000),
    }
});

fn read(text: &str, set: &str) -> Result<Config, Error> {
    let mut raw = RawConfig::parse("fuzz.toml", text)?;
    if !set.is_empty() {
        raw.set(set)?;
    }
    raw.check()
}
