//! Passwords from files: an environment is shown by `docker inspect`, by `/proc` and in many a report of a crash.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// `url` with the password that `file` holds, if it names none itself. `setting` names the file in errors.
pub fn put_into(url: &str, file: Option<&Path>, setting: &str) -> Result<String> {
    let Some(file) = file else { return Ok(url.to_owned()) };
    let begin = url.find("://").map_or(0, |at| at + 3);
    let end = url[begin..].find(['/', '?', '#']).map_or(url.len(), |at| begin + at);
    let user = url[begin..end].rfind('@').map(|at| begin + at);
    let user =
        user.with_context(|| format!("{setting} is set, but the URL names no user: ..://user@host"))?;
    if url[begin..user].contains(':') {
        return Ok(url.to_owned());
    }
    let text = std::fs::read_to_string(file);
    let text = text.with_context(|| format!("cannot read {} ({setting})", file.display()))?;
    let password = text.trim_end_matches(['\n', '\r']);
    ensure!(!password.is_empty(), "{} ({setting}) is empty", file.display());
    Ok(format!("{}:{}{}", &url[..user], encoded(password), &url[user..]))
}

/// So that nothing in it means anything to a URL.
fn encoded(password: &str) -> String {
    password.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() {
            text.push(byte.into());
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_comes_from_its_file_unless_the_url_has_one() {
        let file = std::env::temp_dir().join(format!("password-{}", std::process::id()));
        std::fs::write(&file, "p@ss:w/örd%\n").unwrap();
        let put = |url| put_into(url, Some(&file), "FILE");
        let encoded = "p%40ss%3Aw%2F%C3%B6rd%25";
        for (url, expected) in [
            ("postgres://u@h1:1,h2:2/db?a=b@c", format!("postgres://u:{encoded}@h1:1,h2:2/db?a=b@c")),
            ("amqp://u@h", format!("amqp://u:{encoded}@h")),
            ("postgres://u:own@h/db", "postgres://u:own@h/db".to_owned()),
        ] {
            assert_eq!(put(url).unwrap(), expected);
            assert_eq!(put_into(url, None, "FILE").unwrap(), url);
        }
        assert!(put("postgres://h/db").unwrap_err().to_string().contains("names no user"));
        std::fs::write(&file, "\n").unwrap();
        assert!(put("postgres://u@h/db").unwrap_err().to_string().contains("is empty"));
        std::fs::remove_file(&file).unwrap();
        assert!(put("postgres://u@h/db").unwrap_err().to_string().contains("(FILE)"));
    }
}
