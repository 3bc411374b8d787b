"""What a user would write: reads the members of a list and pushes them as contacts, as fast as Python can.

Usage: script.py BASE COUNT FIELDS [--phones]

It maps seven fields (id, email, firstname, lastname, country_id, marketing_optin, timestamp_acquired), with --phones
also phone_number. Eight requests read and eight push at the same time. It has no window, no checkpoint, no retries and
no rules, so it loses members when the list changes meanwhile or a request fails.
"""

import asyncio
import base64
import sys

import aiohttp
import orjson
import uvloop

AT_ONCE = 8
BATCH = 100
OPT_IN = {
    "subscribed": "EXPLICITLY_OPTEDIN",
    "unsubscribed": "EXPLICITLY_OPTEDOUT",
    "cleaned": "EXPLICITLY_OPTEDOUT",
}


def phone_number(text):
    import phonenumbers

    try:
        number = phonenumbers.parse(text, "GB")
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def contact(member, phones):
    merge = member["merge_fields"]
    address = merge.get("ADDRESS")
    mapped = {
        "@type": "contact",
        "@collection": "mailchimp_bench",
        "@merge": True,
        "id": member["contact_id"],
        "email": member["email_address"].lower(),
        "firstname": merge.get("FNAME"),
        "lastname": merge.get("LNAME"),
        "country_id": address.get("country") if isinstance(address, dict) else None,
        "marketing_optin": OPT_IN.get(member["status"]),
        "timestamp_acquired": member["timestamp_signup"] or member["timestamp_opt"],
    }
    if phones and merge.get("PHONE"):
        mapped["phone_number"] = phone_number(merge["PHONE"])
    return {name: value for name, value in mapped.items() if value}


async def main(base, count, fields, phones):
    connector = aiohttp.TCPConnector(limit=2 * AT_ONCE)
    auth = {"authorization": "Basic " + base64.b64encode(b"script:key").decode()}
    batches = asyncio.Queue(maxsize=2 * AT_ONCE)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def page(offset):
            query = f"sort_field=last_changed&sort_dir=ASC&offset={offset}&count={count}&fields={fields}"
            url = f"{base}/3.0/lists/bench/members?{query}"
            async with session.get(url, headers=auth) as response:
                response.raise_for_status()
                read = orjson.loads(await response.read())
            contacts = [contact(member, phones) for member in read["members"]]
            for first in range(0, len(contacts), BATCH):
                await batches.put(orjson.dumps(contacts[first : first + BATCH]))
            return read["total_items"]

        async def reader(offsets):
            for offset in offsets:
                await page(offset)

        async def pusher():
            headers = {"x-ometria-auth": "key", "content-type": "application/json"}
            while (body := await batches.get()) is not None:
                async with session.post(f"{base}/v2/push", data=body, headers=headers) as response:
                    response.raise_for_status()
                    await response.read()

        pushers = [asyncio.create_task(pusher()) for _ in range(AT_ONCE)]
        total = await page(0)
        offsets = iter(range(count, total, count))
        await asyncio.gather(*(reader(offsets) for _ in range(AT_ONCE)))
        for _ in pushers:
            await batches.put(None)
        await asyncio.gather(*pushers)


if __name__ == "__main__":
    base, count, fields = sys.argv[1:4]
    uvloop.run(main(base, int(count), fields, "--phones" in sys.argv))
