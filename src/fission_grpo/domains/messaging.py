"""A team messenger: contacts, channels with roles, drafts, threads, pins, muting and quiet hours."""

from __future__ import annotations

import random
from datetime import date as Date
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field

from fission_grpo.domains.arguments import clock_time, each_once, filled, iso_date, known, named
from fission_grpo.domains.base import Argument, Domain, ToolError

Role = Literal["admin", "member", "guest"]
MAX_ADMINS, MAX_PINS, MAX_MB, MAX_DAYS = 3, 3, 25, 90


class File(Argument):
    """An attachment."""

    name: str
    mb: Annotated[int, Field(ge=1, le=25)]


class Moment(Argument):
    """When to send."""

    date: str
    time: str


class Hours(Argument):
    """A daily span, possibly over midnight."""

    start: str
    end: str


class Contact(BaseModel):
    """A colleague."""

    name: str
    title: str


class Channel(BaseModel):
    """A channel; `members` maps user ids to roles."""

    name: str
    members: dict[str, Role]
    muted: int = 0
    """Hours muted."""


class Post(BaseModel):
    """A message in a channel, in a thread when it replies to another."""

    channel_id: str
    sender: str
    text: str
    pinned: bool = False
    reply_to: str = ""
    files: list[File] = []


class Draft(BaseModel):
    """What is written but not sent; `at` once it is scheduled."""

    channel_id: str
    text: str
    reply_to: str = ""
    files: list[File] = []
    at: Moment | None = None


class MessagingState(BaseModel):
    """The whole workspace as its user `me` sees it."""

    me: str
    today: str
    now: str
    quiet: Hours
    contacts: dict[str, Contact]
    channels: dict[str, Channel]
    messages: dict[str, Post]
    drafts: dict[str, Draft]
    next_message: int
    next_draft: int


class Messaging(Domain):
    """The messenger."""

    name = "messaging"
    State = MessagingState

    @classmethod
    def fresh(cls, seed: int) -> Self:
        """A random workspace with everyday names."""
        rng = random.Random(seed)  # noqa: S311
        ids = rng.sample(range(1000, 10000), 31)
        people = ["Anna Weber", "Omar Haddad", "Lucy Chen", "Paul Novak", "Sara Klein", "Hugo Reed"]
        channels = ["design", "launch", "lunch", "releases"]
        return cls.populate(
            rng,
            contacts={f"U{ids.pop()}": Contact(name=name, title="engineer") for name in people},
            channels={f"C{ids.pop()}": name for name in channels},
            messages={f"M{ids.pop()}": f"Update {i} is ready" for i in range(16)},
            drafts={f"D{ids.pop()}": "Notes will follow"},
            moments=("2026-03-02", rng.choice(["10:30", "22:15"])),
            quiet=("20:00", "07:00"),
            counters=(400, 60),
        )

    @classmethod
    def populate(
        cls,
        rng: random.Random,
        contacts: dict[str, Contact],
        channels: dict[str, str],
        messages: dict[str, str],
        drafts: dict[str, str],
        moments: tuple[str, str],
        quiet: tuple[str, str],
        counters: tuple[int, int],
    ) -> Self:
        """A random workspace; `channels`, `messages` and `drafts` map ids to names and texts.

        The first contact is its user. The first channel has all its pins and most messages, the second all its admins;
        each other one has a pin by a host who writes nowhere else. Contacts must outnumber channels.
        """
        me, *others = contacts
        hosts = dict(zip(list(channels)[1:], rng.sample(others, len(channels) - 1), strict=True))
        rooms: dict[str, Channel] = {}
        posts: dict[str, Post] = {}
        for place, (key, name) in enumerate(channels.items()):
            invited = rng.sample([user for user in others if user != hosts.get(key)], 3)
            host = [hosts[key]] if place else []
            roles: list[Role] = ["member", "admin", "admin", "guest"] if place == 1 else ["member", "guest", "guest"]
            mine: Role = "admin" if place < 3 or rng.random() < 0.7 else "member"
            rooms[key] = Channel(name=name, members={me: mine} | dict(zip([*host, *invited], roles, strict=False)))
        for place, (key, text) in enumerate(messages.items()):
            room = list(rooms)[place // 3 if place < 3 * len(rooms) else 0]
            pinned = place < 3 or (place % 3 == 0 and place < 3 * len(rooms))
            free = [user for user in rooms[room].members if user not in hosts.values()]
            sender = hosts[room] if pinned and room in hosts else rng.choice(free)
            posts[key] = Post(channel_id=room, sender=sender, text=text, pinned=pinned)
        waiting = rng.sample(list(rooms), len(drafts))
        return cls(
            MessagingState(
                me=me,
                today=moments[0],
                now=moments[1],
                quiet=Hours(start=quiet[0], end=quiet[1]),
                contacts=contacts,
                channels=rooms,
                messages=posts,
                drafts={
                    key: Draft(channel_id=room, text=text)
                    for (key, text), room in zip(drafts.items(), waiting, strict=True)
                },
                next_message=counters[0],
                next_draft=counters[1],
            )
        )

    def find_contact(self, name: str) -> dict[str, Any]:
        """Look up a person's id and job title.

        Args:
            name: Full name.
        """
        key, contact = named("find_contact", "contact", self.state.contacts, name)
        return {"user_id": key, "title": contact.title}

    def find_channel(self, name: str) -> dict[str, Any]:
        """Look up a channel's id, your role and unsent draft.

        Args:
            name: Channel name.
        """
        key, channel = named("find_channel", "channel", self.state.channels, name.strip().removeprefix("#"))
        draft = next((d for d, draft in self.state.drafts.items() if _waits(draft, key)), None)
        return {"channel_id": key, "my_role": channel.members[self.state.me], "draft_id": draft}

    def list_members(self, channel_id: str) -> list[dict[str, Any]]:
        """List a channel's people and roles.

        Args:
            channel_id: Channel id.
        """
        members = self._channel("list_members", channel_id).members
        return [{"user_id": key, "role": role} for key, role in members.items()]

    def list_messages(self, channel_id: str) -> list[dict[str, Any]]:
        """List a channel's messages and pins.

        Args:
            channel_id: Channel id.
        """
        self._channel("list_messages", channel_id)
        names = self.state.contacts
        return [
            {"message_id": key, "sender": names[post.sender].name, "text": post.text, "pinned": post.pinned}
            for key, post in self.state.messages.items()
            if post.channel_id == channel_id
        ]

    def write_draft(
        self,
        channel_id: str,
        text: str,
        reply_to: str = "",
        files: list[File] = [],  # noqa: B006
    ) -> dict[str, Any]:
        """Write a channel's only draft, unsent.

        Args:
            channel_id: Channel id.
            text: Message text.
            reply_to: Message id, for a thread.
            files: Attachments, 25 MB in all.
        """
        channel = self._channel("write_draft", channel_id)
        filled("write_draft", "text", text)
        total = sum(file.mb for file in files)
        if total > MAX_MB:
            raise ToolError(f"write_draft: attachments are {total} MB, the limit is {MAX_MB} MB")
        for file in files:
            filled("write_draft", "files.name", file.name)
        if reply_to:
            post = self._message("write_draft", reply_to)
            if post.channel_id != channel_id:
                raise ToolError(f"write_draft: {reply_to} is not in {channel.name}")
        unsent = next((key for key, draft in self.state.drafts.items() if _waits(draft, channel_id)), None)
        if unsent:
            raise ToolError(f"write_draft: {channel.name} already has the unsent draft {unsent}")
        key = self._new_id("D", "next_draft", self.state.drafts)
        self.state.drafts[key] = Draft(channel_id=channel_id, text=text, reply_to=reply_to, files=files)
        return {"draft_id": key}

    def send_draft(self, draft_id: str) -> dict[str, Any]:
        """Send a draft now. Refused in quiet hours.

        Args:
            draft_id: Draft id.
        """
        draft = self._draft("send_draft", draft_id)
        self._check_quiet("send_draft", self.state.now)
        key = self._new_id("M", "next_message", self.state.messages)
        del self.state.drafts[draft_id]
        self.state.messages[key] = Post(
            channel_id=draft.channel_id,
            sender=self.state.me,
            text=draft.text,
            reply_to=draft.reply_to,
            files=draft.files,
        )
        return {"message_id": key}

    def schedule_draft(self, draft_id: str, at: Moment) -> dict[str, Any]:
        """Send a draft later, outside quiet hours.

        Args:
            draft_id: Draft id.
            at: Moment, YYYY-MM-DD and HH:MM.
        """
        draft = self._draft("schedule_draft", draft_id)
        clock_time("schedule_draft", "time", at.time)
        day = Date.fromisoformat(iso_date("schedule_draft", "date", at.date))
        if (at.date, at.time) <= (self.state.today, self.state.now):
            raise ToolError(f"schedule_draft: {at.date} {at.time} is past, now is {self.state.today} {self.state.now}")
        if day > Date.fromisoformat(self.state.today) + timedelta(days=MAX_DAYS):
            raise ToolError(f"schedule_draft: {at.date} is more than {MAX_DAYS} days ahead of {self.state.today}")
        self._check_quiet("schedule_draft", at.time)
        draft.at = at
        return {"draft_id": draft_id, "sends": f"{at.date} {at.time}"}

    def pin_message(self, message_id: str, pinned: bool = True) -> dict[str, Any]:
        """Pin or unpin a message. Admins only, 3 pins a channel.

        Args:
            message_id: Message id.
            pinned: False to unpin.
        """
        post = self._message("pin_message", message_id)
        channel = self._led_channel("pin_message", post.channel_id)
        if post.pinned == pinned:
            raise ToolError(f"pin_message: {message_id} is {'already' if pinned else 'not'} pinned")
        pins = sum(other.pinned for other in self.state.messages.values() if other.channel_id == post.channel_id)
        if pinned and pins >= MAX_PINS:
            raise ToolError(f"pin_message: {channel.name} already has {MAX_PINS} pinned messages")
        post.pinned = pinned
        return {"message_id": message_id, "pinned": pinned}

    def add_members(self, channel_id: str, user_ids: list[str], role: Role = "member") -> dict[str, Any]:
        """Add people to a channel. Admins only.

        Args:
            channel_id: Channel id.
            user_ids: User ids.
            role: Their role.
        """
        channel = self._led_channel("add_members", channel_id)
        each_once("add_members", "user_ids", user_ids)
        for key in user_ids:
            contact = self._contact("add_members", key)
            if key in channel.members:
                raise ToolError(f"add_members: {contact.name} is already in {channel.name}")
        if role == "admin":
            self._check_admins("add_members", channel, len(user_ids))
        channel.members |= dict.fromkeys(user_ids, role)
        return {"channel_id": channel_id, "members": len(channel.members)}

    def set_role(
        self, channel_id: str, user_id: str, role: Literal["admin", "member", "guest", "removed"]
    ) -> dict[str, Any]:
        """Change or remove a member. At most 3 admins.

        Args:
            channel_id: Channel id.
            user_id: User id.
            role: New role.
        """
        channel = self._led_channel("set_role", channel_id)
        contact = self._contact("set_role", user_id)
        held = channel.members.get(user_id)
        if held is None:
            raise ToolError(f"set_role: {contact.name} is not in {channel.name}")
        if user_id == self.state.me:
            raise ToolError("set_role: you cannot change your own role")
        if held == role:
            raise ToolError(f"set_role: {contact.name} is already {role} in {channel.name}")
        if role == "admin":
            self._check_admins("set_role", channel, 1)
        if role == "removed":
            del channel.members[user_id]
        else:
            channel.members[user_id] = role
        return {"user_id": user_id, "role": role}

    def mute_channel(self, channel_id: str, hours: Annotated[int, Field(ge=0, le=72)]) -> dict[str, Any]:
        """Mute a channel's notifications.

        Args:
            channel_id: Channel id.
            hours: How long; 0 to unmute.
        """
        channel = self._channel("mute_channel", channel_id)
        channel.muted = hours
        return {"channel_id": channel_id, "muted_hours": hours}

    def set_quiet_hours(self, hours: Hours) -> dict[str, Any]:
        """Set hours in which nothing is sent.

        Args:
            hours: New span, each HH:MM.
        """
        if clock_time("set_quiet_hours", "start", hours.start) == clock_time("set_quiet_hours", "end", hours.end):
            raise ToolError(f"set_quiet_hours: start and end are both {hours.start}")
        self.state.quiet = hours
        return {"quiet": f"{hours.start}-{hours.end}"}

    def _contact(self, tool: str, user_id: str) -> Contact:
        return known(tool, "user", self.state.contacts, user_id, "find_contact gives ids such as U1234")

    def _channel(self, tool: str, channel_id: str) -> Channel:
        return known(tool, "channel", self.state.channels, channel_id, "find_channel gives ids such as C1234")

    def _led_channel(self, tool: str, channel_id: str) -> Channel:
        channel = self._channel(tool, channel_id)
        role = channel.members[self.state.me]
        if role != "admin":
            raise ToolError(f"{tool}: only admins may do this, your role in {channel.name} is {role}")
        return channel

    def _message(self, tool: str, message_id: str) -> Post:
        return known(tool, "message", self.state.messages, message_id, "list_messages gives ids such as M1234")

    def _draft(self, tool: str, draft_id: str) -> Draft:
        hint = "write_draft and find_channel give ids such as D1234"
        return known(tool, "draft", self.state.drafts, draft_id, hint)

    def _check_admins(self, tool: str, channel: Channel, more: int) -> None:
        admins = [self.state.contacts[key].name for key, role in channel.members.items() if role == "admin"]
        if len(admins) + more > MAX_ADMINS:
            raise ToolError(f"{tool}: at most {MAX_ADMINS} admins, {channel.name} has {', '.join(admins)}")

    def _check_quiet(self, tool: str, time: str) -> None:
        start, end = self.state.quiet.start, self.state.quiet.end
        if start <= time < end if start < end else time >= start or time < end:
            raise ToolError(f"{tool}: {time} is within your quiet hours {start}-{end}")


def _waits(draft: Draft, channel_id: str) -> bool:
    """Whether the draft is the channel's unsent one."""
    return draft.channel_id == channel_id and draft.at is None
