"""Hand messages to folders, and to topics of a real SNS interface."""

import json
import os

import pytest

from resumed.jobs import create_job
from resumed.progress.errors import JobExists, ProgressTypeError
from resumed.progress.handoff import Folder, HandOffError, Sns, send_all

MESSAGES = [{"partid": n, "jobid": "job", "metadata": None, "src": f"{n}.tif"} for n in range(3)]


@pytest.fixture
def inbox(tmp_path):
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture
def topic(aws_url):
    """Open a topic with a queue behind it, and a way to read what arrives there."""
    import boto3

    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    client, queues = (
        boto3.client(name, endpoint_url=aws_url, region_name="eu-west-1", **keys)
        for name in ("sns", "sqs")
    )
    arn = client.create_topic(Name="work")["TopicArn"]
    queue = queues.create_queue(QueueName=f"work-{os.urandom(4).hex()}")["QueueUrl"]
    names = ["QueueArn"]
    attributes = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    client.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=attributes["QueueArn"])

    def received():
        found = []
        while got := queues.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            for each in got:
                body = json.loads(each["Body"])
                found.append((body["Subject"], json.loads(body["Message"])))
                queues.delete_message(QueueUrl=queue, ReceiptHandle=each["ReceiptHandle"])
        return found

    yield arn, client, received
    client.close()
    queues.close()


def by_part(message):
    return message["partid"]


def test_a_folder_gets_a_file_a_message(inbox):
    Folder(inbox)("map", MESSAGES)
    Folder(inbox)("reduce", [{"jobid": "job", "metadata": None, "key": "k"}])

    names = {"job#0.map.json", "job#1.map.json", "job#2.map.json", "job.reduce.json"}
    assert {path.name for path in inbox.iterdir()} == names
    assert json.loads((inbox / "job#1.map.json").read_text()) == MESSAGES[1]


def test_a_message_that_still_lies_there_is_not_placed_twice(inbox):
    for _ in range(2):
        Folder(inbox)("map", MESSAGES)

    assert len(list(inbox.iterdir())) == 3


def test_a_whole_job_is_one_file_that_appears_at_once(inbox):
    seen = []

    def parts():
        for number in range(3):
            seen.append(os.listdir(inbox))
            yield {"src": f"{number}.tif"}

    jobid = create_job(parts(), "tiles/7", metadata={"n": 1}, send=Folder(inbox))

    assert jobid == "tiles/7"
    assert seen == [[]] * 3
    (path,) = inbox.iterdir()
    assert path.name == "tiles%2F7.jsonl"
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"resumed-job": {"metadata": {"n": 1}}},
        *({"src": f"{number}.tif", "partid": number} for number in range(3)),
    ]


def test_parts_that_are_named_keep_their_names_in_the_file(inbox):
    create_job([{"order": "a"}, {"order": 7}], "j", id_field="order", send=Folder(inbox))

    lines = (inbox / "j.jsonl").read_text().splitlines()[1:]
    assert [json.loads(line)["partid"] for line in lines] == ["a", "7"]


def test_a_job_that_still_lies_there_is_not_placed_again(inbox):
    create_job([{"n": 1}], "j", send=Folder(inbox))

    with pytest.raises(JobExists):
        create_job([{"n": 2}], "j", send=Folder(inbox))

    assert os.listdir(inbox) == ["j.jsonl"]
    assert '"n": 1' in (inbox / "j.jsonl").read_text()


@pytest.mark.parametrize(
    ("parts", "more"),
    [
        ([{"n": 1}, {"n": float("nan")}], {}),
        ([{"n": 1}, "text"], {}),
        ([{"n": 1}], {"metadata": {"n": object()}}),
        ([{"n": 1}], {"tolerate": 1}),
        ([{"n": 1}], {"on_reduce": print}),
    ],
)
def test_a_job_for_the_daemon_that_cannot_be_is_refused_before_a_file_appears(inbox, parts, more):
    with pytest.raises(ProgressTypeError):
        create_job(parts, send=Folder(inbox), **more)

    assert os.listdir(inbox) == []


def test_no_name_of_a_job_or_part_leaves_the_folder(inbox):
    for part in ("../up", "/root", ".", "日本", "x" * 240, "y" * 240):
        Folder(inbox)("map", [{"partid": part, "jobid": "../../etc/j" * 20, "metadata": None}])

    assert len(list(inbox.iterdir())) == 6
    assert len(list(inbox.parent.iterdir())) == 1


def test_a_folder_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        Folder(tmp_path / "nowhere")("map", MESSAGES)


def test_a_topic_gets_every_message_with_its_subject(topic):
    arn, client, received = topic
    many = [{"partid": n, "jobid": "job", "metadata": {"é": 1}} for n in range(25)]

    Sns(arn, client=client)("map", iter(many))
    Sns(arn, client=client)("reduce", [{"jobid": "job", "metadata": None, "key": "k"}])

    got = received()
    assert sorted((body for subject, body in got if subject == "map"), key=by_part) == many
    assert [body for subject, body in got if subject == "reduce"] == [
        {"jobid": "job", "metadata": None, "key": "k"}
    ]


def test_large_messages_are_published_in_requests_that_are_allowed(topic):
    arn, client, received = topic
    large = [{"partid": n, "jobid": "job", "text": "x" * 100_000} for n in range(5)]

    Sns(arn, client=client)("map", large)

    assert [body["partid"] for _, body in sorted(received(), key=lambda got: got[1]["partid"])] == (
        [0, 1, 2, 3, 4]
    )


def test_a_topic_that_does_not_exist_is_an_error(topic):
    arn, client, _ = topic

    with pytest.raises(client.exceptions.NotFoundException):
        Sns(arn + "-gone", client=client)("map", MESSAGES)


def test_messages_that_are_refused_are_an_error():
    class Refusing:
        def publish_batch(self, **_request):
            return {"Successful": [], "Failed": [{"Id": "0", "Code": "Throttled"}]}

    with pytest.raises(HandOffError, match=r"1 of 3 messages were refused \(Throttled\)"):
        Sns("arn:aws:sns:eu-west-1:1:t", client=Refusing())("map", MESSAGES)


def test_the_topic_comes_from_the_environment_or_is_missed(monkeypatch):
    monkeypatch.delenv("WorkTopic", raising=False)
    with pytest.raises(ProgressTypeError, match="WorkTopic"):
        Sns()

    monkeypatch.setenv("WorkTopic", "arn:aws:sns:eu-west-1:1:work")

    assert Sns().topic == "arn:aws:sns:eu-west-1:1:work"


def test_the_client_is_made_from_the_topic_when_it_is_needed(topic, monkeypatch):
    arn, _, received = topic
    pytest.importorskip("botocore", "1.31", reason="takes no endpoint from the environment")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", topic[1].meta.endpoint_url)
    send = Sns(arn)

    send("map", MESSAGES[:1])
    send("map", MESSAGES[1:])

    assert sorted((body for _, body in received()), key=by_part) == MESSAGES
    send.close()


def test_sending_holds_no_more_than_its_senders_need():
    drawn, sent = [], []

    def messages():
        for number in range(1000):
            drawn.append(number)
            yield {"partid": number}

    def send(_subject, group):
        assert len(drawn) - len(sent) <= 400
        sent.extend(group)

    send_all(send, messages(), workers=2)

    assert len(sent) == 1000


def test_an_error_of_a_sender_comes_out():
    def send(_subject, _group):
        raise ConnectionError("topic is down")

    with pytest.raises(ConnectionError):
        send_all(send, iter(MESSAGES), workers=0)
