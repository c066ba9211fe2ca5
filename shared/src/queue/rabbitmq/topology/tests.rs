use super::*;

/// Backends `kannel`, without a rate, and `slow`, with one.
fn topology() -> Topology {
    let text = "[queue]\nurl = 'amqp://localhost'\nretry = ['5m', '90500ms']\n\
                [backends.kannel]\nengine = 'httptester'\n\
                [backends.slow]\nengine = 'httptester'\nrate = 1\n";
    Topology::new(&Config::parse("test", text, &BTreeMap::new()).unwrap())
}

fn outgoing(backend: &str) -> QueueName {
    QueueName::Outgoing(backend.parse().unwrap())
}

#[test]
fn every_queue_keeps_what_it_was_given() {
    let topology = topology();
    let has = |table: &FieldTable, name: &str, value: AMQPValue| {
        assert_eq!(table.inner().get(name), Some(&value), "{name}");
    };
    let (work, single) =
        (topology.work_arguments(&outgoing("kannel")), topology.work_arguments(&outgoing("slow")));
    let rung = topology.rung_arguments(Duration::from_secs(5));
    for table in [&work, &single, &rung] {
        has(table, "x-queue-type", text("quorum"));
        has(table, "x-dead-letter-strategy", text("at-least-once"));
        has(table, "x-overflow", text("reject-publish"));
    }
    for table in [&work, &single] {
        has(table, "x-dead-letter-exchange", text("sms.dead"));
        has(table, "x-delivery-limit", AMQPValue::LongLongInt(20));
    }
    for table in [&single, &topology.work_arguments(&QueueName::Reports)] {
        has(table, "x-single-active-consumer", true.into());
    }
    assert_eq!(work.inner().get("x-single-active-consumer"), None);
    has(&rung, "x-dead-letter-exchange", text("sms"));
    has(&rung, "x-message-ttl", AMQPValue::LongLongInt(5000));
    assert_eq!(rung.inner().get("x-dead-letter-routing-key"), None);
}

#[test]
fn what_leads_to_a_queue_comes_after_it_and_never_before_the_other_one_is_let_go() {
    let topology = topology();
    let told = |step: &Step| match step {
        Step::Exchange { name, .. } => format!("exchange {name}"),
        Step::Queue { name, .. } => name.to_string(),
        Step::Bind(Binding { queue, key, .. }) => format!("{key} to {queue}"),
        Step::Unbind(Binding { queue, key, .. }) => format!("{key} not to {queue}"),
    };
    let told = |steps: &[Step]| steps.iter().map(told).collect::<Vec<_>>();
    let shared = [
        "exchange sms.unrouted",
        "sms.unrouted",
        " to sms.unrouted",
        "exchange sms.dead",
        "sms.dead",
        " to sms.dead",
        "exchange sms",
    ];
    assert_eq!(told(&topology.shared_steps()), shared);
    let steps: Vec<_> = topology.steps_of_queues().iter().map(|steps| told(steps)).collect();
    let kannel = [
        "exchange sms.outgoing.kannel",
        "sms.outgoing.kannel",
        " to sms.outgoing.kannel",
        "outgoing.kannel not to sms.outgoing.kannel.single",
        "outgoing.kannel to sms.outgoing.kannel",
    ];
    assert_eq!(steps[2], kannel);
    let slow = [
        "exchange sms.outgoing.slow.single",
        "sms.outgoing.slow.single",
        " to sms.outgoing.slow.single",
        "outgoing.slow.single to sms.outgoing.slow.single",
    ];
    assert_eq!(steps[3], slow);
}

#[test]
fn names_are_those_of_the_design() {
    let topology = topology();
    assert_eq!(topology.exchange().as_str(), "sms");
    assert_eq!(topology.queue(&QueueName::Reports).as_str(), "sms.reports");
    assert_eq!(topology.queue(&outgoing("kannel")).as_str(), "sms.outgoing.kannel");
    assert_eq!(topology.queue(&outgoing("slow")).as_str(), "sms.outgoing.slow.single");
    assert_eq!(topology.other_queue(&outgoing("kannel")).as_str(), "sms.outgoing.kannel.single");
    assert_eq!(topology.other_queue(&outgoing("slow")).as_str(), "sms.outgoing.slow");
    assert_eq!(topology.key("outgoing.kannel").as_str(), "outgoing.kannel");
    assert_eq!(topology.key("outgoing.slow").as_str(), "outgoing.slow.single");
    for key in ["incoming.slow", "outgoing.gone", "outgoing.", "report.single", "x"] {
        assert_eq!((topology.key(key).as_str(), route(key)), (key, key));
    }
    assert_eq!((route("outgoing.slow.single"), route("outgoing.slow")), ("outgoing.slow", "outgoing.slow"));
    let destination = |destination, route| topology.destination(destination, route).to_string();
    assert_eq!(destination(Destination::Dead, "incoming.kannel"), "sms.dead");
    let rung = |millis| destination(Destination::Retry(Duration::from_millis(millis)), "incoming.kannel");
    assert_eq!([rung(300_000), rung(90_500)], ["sms.retry.5m", "sms.retry.1m30s500ms"]);
}

#[test]
fn what_has_a_queue_is_published_in_front_of_it() {
    let topology = topology();
    for (route, exchange) in [
        ("incoming.gone", "sms.incoming"),
        ("submit.kannel", "sms.incoming"),
        ("report.kannel", "sms.reports"),
        ("outgoing.kannel", "sms.outgoing.kannel"),
        ("outgoing.slow", "sms.outgoing.slow.single"),
        ("outgoing.gone", "sms"),
        ("incoming", "sms.incoming"),
        ("other.kannel", "sms"),
    ] {
        assert_eq!(topology.destination(Destination::Back, route).as_str(), exchange, "{route}");
    }
}
