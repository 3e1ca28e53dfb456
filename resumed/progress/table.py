"""Speak to one DynamoDB table in plain values: numbers are whole, empty sets are absent.

Every read is consistent. In an expression each ``#word`` stands for the attribute of that
name, so that no reserved word needs care; *names* adds those that are not words.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, TypeAlias

Item: TypeAlias = dict[str, Any]
_READ_AT_ONCE = 100
_WRITTEN_AT_ONCE = 25


class Table:
    """Read and change items; *client* is boto3's, which threads may share."""

    def __init__(self, client: Any, name: str) -> None:  # noqa: ANN401 - boto3 has no types
        self._client = client
        self._name = name

    def create(self) -> None:
        """Create the table, billed by request, and wait until it is there."""
        self._client.create_table(
            TableName=self._name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self._client.get_waiter("table_exists").wait(TableName=self._name)

    def read(self, key: str) -> Item | None:
        """Read one item."""
        answer = self._client.get_item(
            TableName=self._name, Key={"id": {"S": key}}, ConsistentRead=True
        )
        return _plain_item(answer["Item"]) if "Item" in answer else None

    def read_all(self, keys: Iterable[str]) -> dict[str, Item]:
        """Read many items, by their keys; those that are missing are left out."""
        found: dict[str, Item] = {}
        wanted = [{"id": {"S": key}} for key in keys]
        while wanted:
            now, wanted = wanted[:_READ_AT_ONCE], wanted[_READ_AT_ONCE:]
            request = {self._name: {"Keys": now, "ConsistentRead": True}}
            answer = self._client.batch_get_item(RequestItems=request)
            for item in map(_plain_item, answer["Responses"].get(self._name, [])):
                found[item["id"]] = item
            wanted += answer["UnprocessedKeys"].get(self._name, {"Keys": []})["Keys"]
        return found

    def write_all(self, items: Iterable[Item] = (), *, forget: Iterable[str] = ()) -> None:
        """Write whole items, and delete those whose keys are in *forget*."""
        requests: Iterator[Any] = chain(
            ({"PutRequest": {"Item": _typed(item)["M"]}} for item in items),
            ({"DeleteRequest": {"Key": {"id": {"S": key}}}} for key in forget),
        )
        left: list[Any] = []
        while left := left + list(islice(requests, _WRITTEN_AT_ONCE - len(left))):
            answer = self._client.batch_write_item(RequestItems={self._name: left})
            left = answer["UnprocessedItems"].get(self._name, [])

    def put(self, item: Item, condition: str, **values: Any) -> bool:  # noqa: ANN401 - each :word
        """Write a whole item if *condition* holds for the one in its place."""
        return (
            self._write(self._client.put_item, condition, values, Item=_typed(item)["M"])
            is not None
        )

    def remove(self, id_: str, condition: str, **values: Any) -> None:  # noqa: ANN401 - each :word
        """Delete an item if *condition* holds."""
        self._write(self._client.delete_item, condition, values, Key={"id": {"S": id_}})

    def change(
        self,
        key: str,
        expression: str,
        condition: str,
        names: Mapping[str, str] | None = None,
        /,
        **values: Any,  # noqa: ANN401 - each :word of the expressions
    ) -> Item | None:
        """Change one item if *condition* holds and return it as it is then, else None."""
        answer = self._write(
            self._client.update_item,
            condition,
            values,
            names,
            Key={"id": {"S": key}},
            UpdateExpression=expression,
            ReturnValues="ALL_NEW",
        )
        return None if answer is None else _plain_item(answer["Attributes"])

    def _write(
        self,
        write: Any,  # noqa: ANN401 - a method of boto3's client
        condition: str,
        values: Mapping[str, Any],
        names: Mapping[str, str] | None = None,
        **request: Any,  # noqa: ANN401 - what it takes
    ) -> Any:  # noqa: ANN401 - what it returns, None when the condition does not hold
        text = f"{request.get('UpdateExpression', '')} {condition}"
        words, used = set(re.findall(r"#(\w+)", text)), set(re.findall(r":(\w+)", text))
        if condition:
            request["ConditionExpression"] = condition
        if words:
            aliases = {f"#{word}": (names or {}).get(word, word) for word in words}
            request["ExpressionAttributeNames"] = aliases
        if used:
            request["ExpressionAttributeValues"] = {
                f":{word}": _typed(values[word]) for word in used
            }
        try:
            return write(TableName=self._name, **request)
        except self._client.exceptions.ConditionalCheckFailedException:
            return None


def _typed(value: Any) -> dict[str, Any]:  # noqa: ANN401 - the edge to DynamoDB
    match value:
        case str():
            return {"S": value}
        case int():
            return {"N": str(value)}
        case set() | frozenset():
            whole = all(isinstance(each, int) for each in value)
            return {"NS" if whole else "SS": [str(each) for each in value]}
        case dict():
            return {"M": {name: _typed(each) for name, each in value.items()}}
        case _:
            return {"L": [_typed(each) for each in value]}


def _plain_item(item: Mapping[str, Any]) -> Item:
    return {name: _plain(each) for name, each in item.items()}


def _plain(attribute: Mapping[str, Any]) -> Any:  # noqa: ANN401 - the edge to DynamoDB
    ((kind, value),) = attribute.items()
    match kind:
        case "N":
            return int(value)
        case "NS":
            return {int(each) for each in value}
        case "SS":
            return set(value)
        case "M":
            return _plain_item(value)
        case "L":
            return [_plain(each) for each in value]
        case _:
            return value
