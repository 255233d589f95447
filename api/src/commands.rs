//! What `api` can do besides running: the schema, the embedded issuer's keys and those of secrets, the first administrator, a
//! machine's token, forgetting whose an order was.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use domain::person::Role;
use runtime::config::{LogConfig, MigrateConfig, PasswordConfig};
use store::forget::Forgot;
use store::{Database, migrate};

use crate::identity::bootstrap::{self, NewToken};
use crate::identity::{key_file, secrets};
use crate::operations::channels::reseal;
use crate::seed::seed;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Apply the schema to the database, say what was done, and end
    Migrate(MigrateConfig),
    /// Make or rotate the embedded issuer's keys
    #[command(subcommand)]
    Keys(Keys),
    /// Make or rotate the keys that channels' secrets are sealed with, or seal everything anew
    #[command(subcommand)]
    Secrets(SecretKeys),
    /// Make somebody an administrator, new or known, and print a new password
    Admin(AdminConfig),
    /// Make a service token, and print it or put it into a file
    Token(TokenConfig),
    /// Forget the personal data of an order that is over
    Forget(ForgetConfig),
    /// Open a coffee shop, where nothing is sold yet: products to order for a first look
    Seed(DatabaseConfig),
}

/// Whose order.
#[derive(Debug, Args)]
pub struct ForgetConfig {
    /// Its id
    pub order_id: uuid::Uuid,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the command's own in --help")]
    pub database: DatabaseConfig,
}

/// What to do with a key file.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make it; one that is there stays
    Make {
        /// The file
        file: PathBuf,
    },
    /// Put a new key and a new secret into it. Running programs use them within seconds; nobody is logged out
    Rotate {
        /// The file
        file: PathBuf,
    },
}

/// What to do with the keys of secrets.
#[derive(Debug, Subcommand)]
pub enum SecretKeys {
    /// Make the file; one that is there stays
    Make {
        /// The file
        file: PathBuf,
    },
    /// Put a new key into it: what is sealed from now on is sealed with that. Older ones go on opening
    Rotate {
        /// The file
        file: PathBuf,
    },
    /// Seal everything anew with the newest key, and forget older ones
    Reseal(ResealConfig),
}

/// What is to be sealed anew.
#[derive(Debug, Args)]
pub struct ResealConfig {
    /// The file
    pub file: PathBuf,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the command's own in --help")]
    pub database: DatabaseConfig,
}

/// Who is to see to people.
#[derive(Debug, Args)]
pub struct AdminConfig {
    /// Their e-mail address
    pub email: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the command's own in --help")]
    pub database: DatabaseConfig,
}

/// A machine.
#[derive(Debug, Args)]
pub struct TokenConfig {
    /// The service's name: lower-case letters, digits, - and _
    pub name: String,
    /// service, staff, manager or admin
    #[arg(long, default_value = "service")]
    pub role: String,
    /// A channel through which it may order; may be given several times
    #[arg(long = "channel")]
    pub channels: Vec<String>,
    /// A location at which it may act; may be given several times
    #[arg(long = "location")]
    pub locations: Vec<String>,
    /// Put it into this file instead, for its owner alone; where there is one already, nothing is made
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the command's own in --help")]
    pub database: DatabaseConfig,
}

/// Where people are kept.
#[derive(Debug, Args)]
pub struct DatabaseConfig {
    /// The database, e.g. `postgres://user:password@host:5432/comanda`
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the command's own in --help")]
    pub password: PasswordConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the command's own in --help")]
    pub logs: LogConfig,
}

impl Command {
    /// Does it.
    pub async fn run(self, patience: Duration) -> Result<()> {
        match self {
            Self::Migrate(config) => migrate::run(&config, patience).await,
            Self::Keys(Keys::Make { file }) => {
                let made = if key_file::make(&file)? { "made" } else { "there already:" };
                println!(
                    "{made} {}; keep it secret, and give it to every api (IDENTITY_KEY_FILE)",
                    file.display()
                );
                Ok(())
            }
            Self::Keys(Keys::Rotate { file }) => {
                key_file::rotate(&file)?;
                println!("{} has a new key, which signs ten seconds from now", file.display());
                Ok(())
            }
            Self::Secrets(SecretKeys::Make { file }) => {
                let made = if secrets::make(&file)? { "made" } else { "there already:" };
                println!(
                    "{made} {}; keep it secret, and give it to every api (SECRETS_KEY_FILE)",
                    file.display()
                );
                Ok(())
            }
            Self::Secrets(SecretKeys::Rotate { file }) => {
                secrets::rotate(&file)?;
                println!(
                    "{} has a new key; `api secrets reseal` seals with it what is there",
                    file.display()
                );
                Ok(())
            }
            Self::Secrets(SecretKeys::Reseal(ResealConfig { file, database })) => {
                let sealed = reseal(&database.open()?, &file).await?;
                println!("{sealed} channels' secrets are sealed with the newest key of {}", file.display());
                Ok(())
            }
            Self::Admin(AdminConfig { email, database }) => {
                let password = bootstrap::make_admin(&database.open()?, &email).await?;
                println!("{email} is an administrator now, with the password\n{password}");
                Ok(())
            }
            Self::Seed(database) => {
                let Some(made) = seed(&database.open()?).await? else {
                    println!("something is sold already");
                    return Ok(());
                };
                println!("a coffee shop is open, and has its first orders");
                for (email, password) in made {
                    println!("{email} {password}");
                }
                Ok(())
            }
            Self::Token(config) => {
                let Some(role) = Role::parse(&config.role) else {
                    bail!("--role {}: must be service, staff, manager or admin", config.role)
                };
                let TokenConfig { name, channels, locations, file, database, .. } = config;
                let new = NewToken { name, role, channels, locations };
                let Some(file) = file else {
                    println!("{}", bootstrap::make_token(&database.open()?, new).await?);
                    return Ok(());
                };
                let made = bootstrap::make_token_once(&database.open()?, new, &file).await?;
                println!("{} {}", if made { "made" } else { "there already:" }, file.display());
                Ok(())
            }
            Self::Forget(ForgetConfig { order_id, database }) => {
                let mut conn = database.open()?.connect().await?;
                match store::forget::forget(&mut conn, order_id, "house").await? {
                    Forgot::Done => println!("whose order {order_id} was is forgotten"),
                    Forgot::UnderWay(status) => bail!("order {order_id} is {} and not over", status.as_str()),
                    Forgot::NotFound => bail!("there is no order {order_id}"),
                }
                Ok(())
            }
        }
    }
}

impl DatabaseConfig {
    fn open(&self) -> Result<Database> {
        runtime::telemetry::init_logs(&self.logs)?;
        Database::new(&self.password.put_into(&self.database_url)?, "people")
    }
}
