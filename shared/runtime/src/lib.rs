//! How a process runs: settings, supervised tasks, group commit, the accept loop, open files, health, logs, metrics, traces.

pub mod batch;
pub mod chaos;
pub mod config;
pub mod files;
pub mod health;
pub mod metric_list;
pub mod password;
pub mod private_file;
pub mod secrets;
pub mod serve;
pub mod tasks;
pub mod telemetry;
pub mod trace;
pub mod unsubscribe;
