# SPDX-License-Identifier: Apache-2.0
# ctest: once
# ctest: timeout 1200
"""Schedules over years of a clock that is the test's own, against an implementation that shares nothing with perilune's.

The judge goes through every minute of a year in each zone, with Python's zoneinfo: what a clock on the wall shows, and what a cron
daemon that looks at it once a minute would start. Expressions and times are random; the seed is fixed and printed.
"""
import bisect
import calendar
import datetime
import os
import random
import subprocess
import sys
import zoneinfo

SOURCE = os.environ["PERILUNE_SOURCE"]
UTC = datetime.timezone.utc
MINUTE, HOUR, DAY = 60, 3600, 86400
# North and south, whole hours and not, half an hour of daylight saving, changes at midnight, negative daylight saving, one during
# Ramadan, none.
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Chatham", "America/Santiago",
         "Asia/Kolkata", "Europe/Dublin", "Africa/Casablanca", "Asia/Beirut", "America/Havana", "UTC"]
# Within the table of a zone's file; and beyond it, where its rule counts.
YEARS = [(name, 2026) for name in ZONES] + [(name, 2041) for name in ZONES[:4]]
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


def fail(text):
    raise AssertionError(text)


def lua(lines):
    """Answers of schedules.lua, a line each."""
    done = subprocess.run(["luajit", "tests/replay/schedules.lua"], input="\n".join(lines) + "\n", capture_output=True, text=True,
                          cwd=SOURCE, env=dict(os.environ, LUA_PATH="lua/?.lua;lua/?/init.lua;;"))
    if done.returncode:
        fail(done.stderr)
    answers = done.stdout.splitlines()
    if len(answers) != len(lines):
        fail("%d answers to %d lines" % (len(answers), len(lines)))
    return answers


class Year:
    """Every minute of a year in a zone: what the clock shows, as minutes since 1970 by that clock."""

    def __init__(self, name, year, first=(1, 1), days=None):
        self.name = name
        zone = zoneinfo.ZoneInfo(name)
        begin = datetime.datetime(year, *first, tzinfo=UTC)
        self.begin = int(begin.timestamp())
        self.end = self.begin + (days * DAY if days else (366 if calendar.isleap(year) else 365) * DAY)
        self.wall = []
        for quarter in range(self.begin, self.end, 15 * MINUTE):  # zones change at none but whole quarters of an hour
            offset = int(datetime.datetime.fromtimestamp(quarter, zone).utcoffset().total_seconds())
            self.wall += [(at + offset) // MINUTE for at in range(quarter, quarter + 15 * MINUTE, MINUTE)]
        # What a daemon sees that wakes up each minute: the steps of the clock that are not one minute.
        self.jumps = []
        self.quiet = [False] * len(self.wall)
        self.by_day = {}
        seen = self.wall[0] - 1
        for i, now in enumerate(self.wall):
            self.by_day.setdefault(now // 1440, []).append((i, now))
            step = now - seen
            if -180 <= step <= 0:
                self.quiet[i] = True  # it has been this late already
                continue
            if step != 1:
                self.jumps.append((i, seen, now))
            seen = now

    def at(self, i):
        return self.begin + i * MINUTE


def day_fits(fields, day):
    date = datetime.date(1970, 1, 1) + datetime.timedelta(days=day)
    weekday = (day + 4) % 7
    if date.month not in fields["months"]:
        return False
    dom, dow = date.day in fields["days"], weekday in fields["weekdays"]
    return dom or dow if not fields["any_day"] and not fields["any_weekday"] else dom and dow


def starts(year, fields):
    """Indices of minutes in which a cron daemon would start it."""
    minutes = [t % 60 in fields["minutes"] and t // 60 in fields["hours"] for t in range(1440)]
    days = [day for day in sorted(year.by_day) if day_fits(fields, day)]
    seen = ((i, wall) for day in days for i, wall in year.by_day[day] if minutes[wall % 1440])

    def due(wall):
        return minutes[wall % 1440] and day_fits(fields, wall // 1440)

    if fields["wild"]:
        return sorted(i for i, _ in seen)
    found = {i for i, _ in seen if not year.quiet[i]}
    for i, before, now in year.jumps:
        if 1 < now - before <= 181 and any(due(wall) for wall in range(before + 1, now + 1)):
            found.add(i)
    return sorted(found)


def merged(spans, begin, end):
    """Active spans within a year, as µs; one that is active at the begin begins there."""
    out = []
    for first, last in sorted(spans):
        if last <= begin or first >= end:
            continue
        if out and first <= out[-1][1]:
            out[-1][1] = max(out[-1][1], last)
        else:
            out.append([max(first, begin), last])
    return out


def changes(spans, end):
    flat = []
    for first, last in spans:
        flat.append("%d" % (first * 1000000))
        if last < end:
            flat.append("%d" % (last * 1000000))
    return " ".join(flat)


def random_field(rng, low, high, names=None, star=0.4):
    """Text of a field, the numbers that it means, and whether it begins with a star."""
    def spelt(number):
        return rng.choice([str(number), names[number % len(names) if low == 0 else number - 1].upper()]) if names and rng.random() < 0.5 \
            else str(number)

    if rng.random() < star:
        if rng.random() < 0.5:
            return "*", set(range(low, high + 1)), True
        step = rng.choice([2, 3, 5, 7, 10, 15])
        return "*/%d" % step, set(range(low, high + 1, step)), True
    parts, meant = [], set()
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        first = rng.randint(low, high)
        last = rng.randint(first, high)
        kind = rng.random()
        if kind < 0.6:
            parts.append(spelt(first))
            meant.add(first)
        elif kind < 0.85:
            parts.append("%s-%s" % (spelt(first), spelt(last)))
            meant.update(range(first, last + 1))
        else:
            step = rng.randint(1, 7)
            parts.append("%d-%d/%d" % (first, last, step))
            meant.update(range(first, last + 1, step))
    return ",".join(parts), meant, False


def random_cron(rng, early):
    """Text and meaning. `early`: hours from 0 to 3, where clocks are changed."""
    minute, minutes, wild_minute = random_field(rng, 0, 59, star=0.3)
    hour, hours, wild_hour = random_field(rng, 0, 3 if early else 23, star=0 if early else 0.3)
    day, days, any_day = random_field(rng, 1, 31, star=0.7)
    month, months, _ = random_field(rng, 1, 12, names=MONTHS, star=0.8)
    weekday, weekdays, any_weekday = random_field(rng, 0, 6, names=WEEKDAYS, star=0.6)
    return "%s %s %s %s %s" % (minute, hour, day, month, weekday), {
        "minutes": minutes, "hours": hours, "days": days, "months": months, "weekdays": weekdays,
        "wild": wild_minute or wild_hour, "any_day": any_day, "any_weekday": any_weekday}


def offsets(rng):
    """Every zone that there is: at random times, and around each change."""
    lines, wanted = [], []
    low, high = -DAY * 365 * 60, DAY * 365 * 130
    for name in sorted(zoneinfo.available_timezones()):
        if name.startswith(("posix/", "right/")) or name in ("localtime", "posixrules"):
            continue
        zone = zoneinfo.ZoneInfo(name)

        def offset(at, zone=zone):
            return int((datetime.datetime(1970, 1, 1, tzinfo=UTC) + datetime.timedelta(seconds=at)).astimezone(zone)
                       .utcoffset().total_seconds())

        times = [rng.randint(low, high) for _ in range(40)]
        for _ in range(6):  # halve in on a change
            a = rng.randint(low, high)
            b = a + rng.randint(DAY, 200 * DAY)
            if offset(a) != offset(b):
                while b - a > 1:
                    middle = (a + b) // 2
                    a, b = (middle, b) if offset(middle) == offset(a) else (a, middle)
            times += [a, b]
        lines.append("offsets %s %s" % (name, " ".join(map(str, times))))
        wanted.append((name, times, [offset(at) for at in times]))
    for (name, times, expected), answer in zip(wanted, lua(lines)):
        got = list(map(int, answer.split()))
        for at, mine, theirs in zip(times, expected, got):
            if mine != theirs:
                fail("%s at %d: %d, and not %d" % (name, at, mine, theirs))
    print("offsets of %d zones, at %d times" % (len(wanted), sum(len(times) for _, times, _ in wanted)))


def compare(cases):
    """cases: (line, year, expected spans)."""
    for (line, year, spans), answer in zip(cases, lua([line for line, _, _ in cases])):
        expected = changes(spans, year.end)
        if expected != answer:
            mine, theirs = expected.split(), answer.split()
            for i in range(max(len(mine), len(theirs))):
                if mine[i:i + 1] != theirs[i:i + 1]:
                    def told(list_):
                        return " ".join(datetime.datetime.fromtimestamp(int(t) // 1000000, UTC).isoformat() for t in list_[max(0, i - 1):i + 3])
                    fail("%s %d: %s\n  expected %s\n  found    %s" % (year.name, i, line, told(mine), told(theirs)))


def in_zone(year):
    return 'zone = "%s"' % year.name


class Window:
    """A part of a year."""

    def __init__(self, year, begin, end):
        self.name, self.begin, self.end = year.name, begin, end


DENSE = 8000  # times active: of more, only the days around changes of the clock are looked at


def windows(year, spans, settle):
    """What of a year is compared. Not its first `settle` seconds, for which one would have to know the year before."""
    if len(spans) <= DENSE:
        return [Window(year, year.begin + settle, year.end)]
    around = sorted({year.at(i) for i in range(1, len(year.wall)) if year.wall[i] - year.wall[i - 1] != 1} | {year.at(len(year.wall) // 3)})
    return [Window(year, at - 2 * DAY, at + 2 * DAY) for at in around if year.begin + settle + 2 * DAY < at < year.end - 2 * DAY]


def cases_of(year, spans, body, settle):
    """Lines and what they are to answer: a list of (line, window, spans)."""
    cases = []
    for window in windows(year, spans, settle):
        wanted = merged([span for span in spans if span[0] < window.end and span[1] > window.begin], window.begin, window.end)
        cases.append(("run s %d %d %s" % (window.begin, window.end, body), window, wanted))
    return cases


def cron_cases(year, text, fields, lasting, settle=2 * HOUR):
    spans = [(year.at(i), year.at(i) + lasting) for i in starts(year, fields)]
    return cases_of(year, spans, 'cron = "%s", lasting = "%ds", %s, hold = "deep"' % (text, lasting, in_zone(year)), settle)


def total(cases):
    return sum(len(spans) for _, _, spans in cases)


def crons(rng, years, number):
    cases = []
    for year in years:
        for n in range(number):
            while True:
                text, fields = random_cron(rng, n % 2 == 0)
                if any(day_fits(fields, day) for day in range(20000, 20000 + 8 * 366)):
                    break
            cases += cron_cases(year, text, fields, rng.choice([1, 30, 60, 300, 3600, 7200]))
        # Every minute, by the clock and by a list of all minutes: the same but for hours that are skipped or repeated.
        everything = {"minutes": set(range(60)), "hours": set(range(24)), "days": set(range(1, 32)), "months": set(range(1, 13)),
                      "weekdays": set(range(7)), "any_day": True, "any_weekday": True}
        cases += cron_cases(year, "* * * * *", dict(everything, wild=True), 30)
        cases += cron_cases(year, "0-59 0-23 * * *", dict(everything, wild=False), 30)
    compare(cases)
    print("%d cron expressions over a year each, active %d times" % (len(years) * (number + 2), total(cases)))


def random_between(rng):
    if rng.random() < 0.5:
        first, last = rng.randint(0, 1439), rng.randint(0, 1440)
    else:
        first, last = rng.randint(0, 239), rng.randint(0, 239)
    return (first, last) if first != last else (first, last + 1)


def betweens(rng, years, number):
    cases = []
    for year in years:
        order = []  # each first minute in which the clock has come so far
        for i, wall in enumerate(year.wall):
            if not order or wall > order[-1][0]:
                order.append((wall, i))
        walls = [wall for wall, _ in order]

        def reached(wall, order=order, walls=walls):
            return order[bisect.bisect_left(walls, wall)]

        for _ in range(number):
            first, last = random_between(rng)
            chosen = rng.sample(range(7), rng.randint(1, 6)) if rng.random() < 0.6 else None
            spans = []
            for day in range(year.wall[0] // 1440 + 1, year.wall[-1] // 1440 - 1):
                if chosen is not None and (day + 4) % 7 not in chosen:
                    continue
                begins = reached(day * 1440 + first)
                ends = reached((day if last > first else day + 1) * 1440 + last)
                if ends[1] > begins[1]:
                    spans.append((year.at(begins[1]), year.at(ends[1])))
            body = 'between = { "%02d:%02d", "%02d:%02d" }, %s, cap = "calm"' % (
                first // 60, first % 60, last // 60, last % 60, in_zone(year))
            inner = Window(year, year.begin + 3 * DAY, year.end - 3 * DAY)
            cases.append(("run s %d %d %s" % (inner.begin, inner.end, body + on_days(chosen)), inner,
                          merged(spans, inner.begin, inner.end)))
    compare(cases)
    print("%d times of the day over a year each, active %d times" % (len(cases), total(cases)))


def on_days(chosen):
    return "" if chosen is None else ", days = { %s }" % ", ".join('"%s"' % WEEKDAYS[d] for d in chosen)


def everies(rng, years, number):
    cases = []
    for year in years:
        for _ in range(number):
            period = rng.choice([60, 300, 900, 1800, 3600, 5400, 7 * HOUR, DAY, 3 * DAY, 7 * DAY])
            lasting = rng.randint(1, period - 1)
            chosen = rng.sample(range(7), rng.randint(1, 6)) if rng.random() < 0.6 else None
            spans = []
            for at in range(-(-year.begin // period) * period, year.end, period):
                if chosen is None or (year.wall[(at - year.begin) // MINUTE] // 1440 + 4) % 7 in chosen:
                    spans.append((at, at + lasting))
            body = 'every = "%ds", lasting = "%ds", %s, hold = "deep"' % (period, lasting, in_zone(year))
            cases += cases_of(year, spans, body + on_days(chosen), 8 * DAY)
    compare(cases)
    print("%d periods over a year each, active %d times" % (len(years) * number, total(cases)))


def skipped_day():
    """Samoa had no 30 December 2011: a new clock, nothing is made up for."""
    year = Year("Pacific/Apia", 2011, (12, 20), 20)
    base = {"months": set(range(1, 13)), "weekdays": set(range(7)), "any_weekday": True}
    daily = cron_cases(year, "30 2 * * *", dict(base, minutes={30}, hours={2}, days=set(range(1, 32)), any_day=True, wild=False), 60, 0)
    once = cron_cases(year, "30 2 30 * *", dict(base, minutes={30}, hours={2}, days={30}, any_day=False, wild=False), 60, 0)
    compare(daily + once)
    if total(daily) != 20 or total(once):
        fail("the judge has found a day that was not")
    print("a day that was not")


def jitter(rng):
    """Later by less than it, by another amount each time, and by the same whoever asks, when and in which order."""
    body = 'every = "1h", lasting = "1m", jitter = "30m", zone = "UTC", hold = "deep"'
    begin = 1767225600
    first, again, other = lua(["run s %d %d %s" % (begin, begin + 365 * DAY, body)] * 2 + ["run t %d %d %s" % (begin, begin + 365 * DAY, body)])
    if first != again or first == other:
        fail("jitter is not decided by the names alone")
    times = list(map(int, first.split()))[0::2]
    shifts = [time % 3600000000 / 1e6 for time in times]
    if len(times) != 365 * 24 or max(shifts) >= 1800 or min(shifts) < 0:
        fail("%d times, %f to %f s later" % (len(times), min(shifts), max(shifts)))
    # Evenly: every twentieth of the half hour has its part (438 ± 4.5 standard deviations), and neighbours know nothing of each other.
    parts = [0] * 20
    for shift in shifts:
        parts[int(shift / 90)] += 1
    if min(parts) < 345 or max(parts) > 531:
        fail("jitter is not even: %s" % parts)
    mean = sum(shifts) / len(shifts)
    variance = sum((s - mean) ** 2 for s in shifts)
    together = sum((a - mean) * (b - mean) for a, b in zip(shifts, shifts[1:])) / variance
    if abs(together) > 0.05:
        fail("one jitter tells the next: %f" % together)
    spans = [(int(a), int(b)) for a, b in zip(first.split()[0::2], first.split()[1::2])]
    asked = [rng.randint(begin + DAY, begin + 360 * DAY) for _ in range(2000)]  # back and forth
    asked += [a // 1000000 + 1 for a, _ in spans[100:200]]
    expected = ["1" if any(a <= at * 1000000 < b for a, b in spans) else "0" for at in asked]
    answer = lua(["at s %s | %s" % (body, " ".join(map(str, asked)))])[0].split()
    if answer != expected:
        fail("asked back and forth, it says something else")
    print("jitter: even, and the same whenever asked")


def steps(rng, years):
    """A clock that is set: whatever it was before, the answer is the same."""
    lines, wanted = [], []
    for year in years:
        text, fields = "*/7 0-12/3 * * *", {
            "minutes": set(range(0, 60, 7)), "hours": {0, 3, 6, 9, 12}, "days": set(range(1, 32)), "months": set(range(1, 13)),
            "weekdays": set(range(7)), "any_day": True, "any_weekday": True, "wild": True}
        spans = [(year.at(i), year.at(i) + 150) for i in starts(year, fields)]
        asked = [rng.randint(year.begin + DAY, year.end - DAY) for _ in range(1000)]
        lines.append('at s cron = "%s", lasting = "150s", %s, hold = "deep" | %s' % (text, in_zone(year), " ".join(map(str, asked))))
        begins = [a for a, _ in spans]

        def active(at, begins=begins, spans=spans):
            i = bisect.bisect_right(begins, at) - 1
            return "1" if i >= 0 and at < spans[i][1] else "0"

        wanted.append(" ".join(map(active, asked)))
    for year, mine, theirs in zip(years, wanted, lua(lines)):
        if mine != theirs:
            fail("%s: it depends on what was asked before" % year.name)
    print("clocks that are set, back and forth")


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    rng = random.Random(seed)
    print("seed %d" % seed)
    try:
        offsets(rng)
        skipped_day()
        jitter(rng)
        years = [Year(name, year) for name, year in YEARS]
        steps(rng, years)
        everies(rng, years, 4)
        betweens(rng, years, 10)
        crons(rng, years, 8)
    except AssertionError as failure:
        print("FAILED: %s" % failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
