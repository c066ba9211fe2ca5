//! Against a broker of a few lines, which answers when the test wants it to.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use lapin::ConnectionProperties;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::config::Config;

/// Who awaits an answer before it asks for more would wait for ever.
const DEADLINE: Duration = Duration::from_secs(20);

const QUEUE_DECLARE: Method = (50, 10);

/// A class and a method of AMQP.
type Method = (u16, u16);

/// A method that was asked for, on a channel, and its arguments.
struct Asked {
    channel: u16,
    method: Method,
    arguments: Vec<u8>,
}

impl Asked {
    /// The name of the queue that is to be declared.
    fn queue(&self) -> Option<&str> {
        let length = usize::from(*self.arguments.get(2)?);
        let name = str::from_utf8(self.arguments.get(3..3 + length)?);
        name.ok().filter(|_| self.method == QUEUE_DECLARE)
    }
}

/// The broker's end of a connection.
struct Broker(TcpStream);

impl Broker {
    /// Accepts the connection.
    async fn accept(listener: TcpListener) -> Self {
        let mut broker = Self(listener.accept().await.unwrap().0);
        broker.0.read_exact(&mut [0; 8]).await.unwrap();
        let start = b"\0\x09\0\0\0\0\0\0\0\x05PLAIN\0\0\0\x05en_US";
        broker.tell(0, (10, 10), start).await;
        broker.hear().await;
        let tune = [0, 0, 0, 2, 0, 0, 0, 0];
        broker.tell(0, (10, 30), &tune).await;
        broker.hear().await;
        broker.hear().await;
        broker.tell(0, (10, 41), &[0]).await;
        broker
    }

    async fn tell(&mut self, channel: u16, (class, method): Method, arguments: &[u8]) {
        let length = u32::try_from(arguments.len() + 4).unwrap();
        let mut frame = vec![1];
        frame.extend(channel.to_be_bytes());
        frame.extend(length.to_be_bytes());
        frame.extend([class.to_be_bytes(), method.to_be_bytes()].concat());
        frame.extend(arguments);
        frame.push(0xce);
        self.0.write_all(&frame).await.unwrap();
    }

    async fn hear(&mut self) -> Asked {
        let mut head = [0; 7];
        self.0.read_exact(&mut head).await.unwrap();
        let number = |bytes: &[u8]| u16::from_be_bytes(bytes.try_into().unwrap());
        let mut rest = vec![0; usize::from(number(&head[5..])) + 1];
        self.0.read_exact(&mut rest).await.unwrap();
        let method = (number(&rest[..2]), number(&rest[2..4]));
        Asked { channel: number(&head[1..3]), method, arguments: rest[4..].to_vec() }
    }

    /// Opens the channels, and hears so many steps before it answers any.
    async fn hear_steps(&mut self, count: usize) -> Vec<Asked> {
        let mut steps = Vec::new();
        while steps.len() < count {
            let asked = self.hear().await;
            if asked.method == (20, 10) {
                self.tell(asked.channel, (20, 11), &[0; 4]).await;
            } else {
                steps.push(asked);
            }
        }
        steps
    }

    /// Answers that it is done.
    async fn do_it(&mut self, step: &Asked) {
        let (class, method) = step.method;
        let arguments: &[u8] = if step.method == QUEUE_DECLARE { &[0; 9] } else { &[] };
        self.tell(step.channel, (class, method + 1), arguments).await;
    }

    /// Closes the channel, as for a queue that has other arguments.
    async fn refuse(&mut self, step: &Asked) {
        let told = format!("PRECONDITION_FAILED - {}", step.queue().unwrap());
        let length = u8::try_from(told.len()).unwrap();
        let arguments = [&406_u16.to_be_bytes()[..], &[length], told.as_bytes(), &[0, 50, 0, 10]].concat();
        self.tell(step.channel, (20, 40), &arguments).await;
    }
}

/// A topology of some backends.
fn topology() -> Topology {
    let backends = (1..=9).map(|number| format!("[backends.b{number}]\nengine = 'httptester'\n"));
    let backends = backends.collect::<Vec<_>>().concat();
    let text = format!("[queue]\nurl = 'amqp://localhost'\n{backends}");
    Topology::new(&Config::parse("test", &text, &BTreeMap::new()).unwrap())
}

/// Declares the topology on a broker that does what `answer` does once it was asked for all queues.
async fn declare(answer: impl AsyncFnOnce(&mut Broker, Vec<Asked>)) -> lapin::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("amqp://{}/%2f", listener.local_addr().unwrap());
    let topology = topology();
    let broker = async {
        let mut broker = Broker::accept(listener).await;
        for step in broker.hear_steps(topology.shared_steps().len()).await {
            broker.do_it(&step).await;
        }
        let steps = broker.hear_steps(topology.steps_of_queues().concat().len()).await;
        answer(&mut broker, steps).await;
        // Until the connection is dropped.
        broker.0.read_to_end(&mut Vec::new()).await.ok();
    };
    let declaring = async {
        let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
        topology.declare(&connection).await
    };
    tokio::pin!(broker);
    tokio::select! {
        declared = tokio::time::timeout(DEADLINE, declaring) => declared.expect("it waits for an answer"),
        () = &mut broker => panic!("the broker has ended"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_queues_are_asked_for_before_an_answer() {
    let declared = declare(async |broker, steps| {
        for step in &steps {
            broker.do_it(step).await;
        }
    });
    declared.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_refusals_the_first_in_order_is_told() {
    let (first, later) = ("sms.reports", "sms.outgoing.b6");
    let refused = declare(async |broker, steps| {
        let channels: BTreeSet<u16> = steps.iter().map(|step| step.channel).collect();
        let mut refused = Vec::new();
        for channel in channels.into_iter().rev() {
            for step in steps.iter().filter(|step| step.channel == channel) {
                let Some(queue) = step.queue().filter(|queue| [first, later].contains(queue)) else {
                    broker.do_it(step).await;
                    continue;
                };
                broker.refuse(step).await;
                refused.push(queue);
                break;
            }
        }
        assert_eq!(refused, [later, first]);
    });
    let error = refused.await.unwrap_err();
    let told = crate::queue::rabbitmq::link::refused(&error);
    assert_eq!(told, Some((406, format!("PRECONDITION_FAILED - {first}").as_str())));
}
