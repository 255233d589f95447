//! Keys and service tokens as an operator makes them: by the commands of `api`. For whoever starts the programs and speaks to
//! them: nobody is let in without a token.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Somebody with the program `api` at hand.
#[derive(Debug, Clone)]
pub struct Operator {
    api: PathBuf,
}

/// What a machine's token is for.
#[derive(Debug, Clone, Copy)]
pub struct Machine<'a> {
    /// The service's name.
    pub name: &'a str,
    /// `service`, `staff`, `manager` or `admin`.
    pub role: &'a str,
    /// Channels through which it may order.
    pub channels: &'a [&'a str],
}

impl Operator {
    /// `programs` is where the project's programs are.
    pub fn of(programs: &Path) -> Self {
        Self { api: programs.join("api") }
    }

    /// Makes a key file (`IDENTITY_KEY_FILE`); one that is there stays.
    pub fn make_keys(&self, file: &Path) -> Result<()> {
        self.run(&["keys", "make", &file.display().to_string()], "").map(drop)
    }

    /// Makes a file with the keys that secrets are sealed with (`SECRETS_KEY_FILE`); one that is there stays.
    pub fn make_secrets(&self, file: &Path) -> Result<()> {
        self.run(&["secrets", "make", &file.display().to_string()], "").map(drop)
    }

    /// Makes a service token in a database that has the schema.
    pub fn make_token(&self, database_url: &str, machine: &Machine<'_>) -> Result<String> {
        let mut arguments = vec!["token", machine.name, "--role", machine.role];
        machine.channels.iter().for_each(|channel| arguments.extend(["--channel", *channel]));
        let said = self.run(&arguments, database_url)?;
        // Whatever is logged stands above it.
        said.lines().last().map(str::to_owned).context("`api token` said nothing")
    }

    fn run(&self, arguments: &[&str], database_url: &str) -> Result<String> {
        let output = Command::new(&self.api)
            .args(arguments)
            .env_clear()
            .env("DATABASE_URL", database_url)
            .env("LOG_LEVEL", "error")
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {}: is it built?", self.api.display()))?;
        let (said, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "`api {}` failed: {said}{complained}", arguments[0]);
        Ok(said.into_owned())
    }
}
