//! The contract between `ingress` and `dispatcher`, and the plumbing both stand on.
//!
//! Read in this order: [`message`] and [`report`] are what is passed, [`envelope`] how it is written, [`queue`] how it
//! travels, [`config`] what a deployment says, [`text`] what a text costs, [`lifecycle`] how a process starts and stops, [`reload`] what it follows while it runs,
//! [`http`] how it serves pages, [`admin`] its private ones.

pub mod message;

pub mod envelope;

pub mod report;

pub mod queue;

pub mod config;

pub mod template;

pub mod keyword;

pub mod text;

pub mod lifecycle;

mod guard;

pub mod reload;

pub mod cli;

pub mod http;

pub mod admin;

pub mod telemetry;

pub mod metric;

pub mod trace;

pub mod clock;
