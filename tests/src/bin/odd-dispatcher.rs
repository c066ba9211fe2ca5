//! A dispatcher whose one app misbehaves in the way that a message asks for: how a program with apps of its own looks, and
//! what each kind of poison does to it.

use std::{
    process::{self, ExitCode},
    thread,
    time::Duration,
};

use dispatcher::apps::{App, Claim, Context, Draft, Outgoing, Step};

struct Odd;

/// Keeps its thread for ever.
fn block() -> ! {
    loop {
        thread::park();
    }
}

impl App for Odd {
    fn name(&self) -> &'static str {
        "odd"
    }

    fn handle<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, Claim> {
        match context.message.text.as_str() {
            "panic" => panic!("on purpose"),
            "abort" => process::abort(),
            "abort later" => {
                return Step::later(async {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    process::abort()
                });
            }
            "endless" => return Step::later(std::future::pending()),
            "block" => block(),
            "block all" => {
                // More than there are threads: whichever is idle takes one.
                for _ in 0..1000 {
                    tokio::runtime::Handle::current().spawn(async { block() });
                }
                block();
            }
            text => {
                let text = text.to_owned();
                context.respond(text);
            }
        }
        Step::ready(Claim::Handled)
    }

    fn outgoing<'a>(&'a self, draft: &'a mut Draft) -> Step<'a, Outgoing> {
        match draft.text() {
            "cancel it" => return Step::ready(Outgoing::Cancel),
            "change it" => draft.set_text("it is changed"),
            "panic on the way out" => panic!("on purpose"),
            _ => {}
        }
        Step::ready(Outgoing::Send)
    }
}

fn main() -> ExitCode {
    dispatcher::main(|_, _| Ok(vec![Box::new(Odd)]))
}
