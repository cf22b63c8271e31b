"""Packets made by hand, which need CAP_NET_RAW; prints THROUGH when an answer comes.

raw.py tcp-packet ADDRESS PORT          SYN as a frame on eth0 (AF_PACKET)
raw.py tcp-raw ADDRESS PORT             SYN through a raw IP socket
raw.py icmp ADDRESS                     echo request with a payload
raw.py udp-from SOURCE ADDRESS PORT TEXT   UDP with another source address: no answer can come; whoever listens there tells
raw.py protocol ADDRESS NUMBER          a datagram of any IP protocol: no answer is looked for but that the node refuses it
raw.py sniff SECONDS TEXT               THROUGH when a frame of any interface holds TEXT
"""
import os, random, socket, struct, subprocess, sys, time

WAIT_SECONDS = 3


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def own_address(to):
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    probe.connect((to, 9))
    return probe.getsockname()[0]


def ip_packet(source, to, protocol, body):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), random.randrange(65536), 0, 64, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(to))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def syn(source, to, source_port, port):
    head = struct.pack("!HHIIBBHHH", source_port, port, random.randrange(1 << 32), 0, 0x50, 0x02, 64000, 0, 0)
    pseudo = socket.inet_aton(source) + socket.inet_aton(to) + struct.pack("!BBH", 0, 6, len(head))
    return ip_packet(source, to, 6, head[:16] + struct.pack("!H", checksum(pseudo + head)) + head[18:])


def udp(source, to, port, text):
    head = struct.pack("!HHHH", 4242, port, 8 + len(text), 0)
    pseudo = socket.inet_aton(source) + socket.inet_aton(to) + struct.pack("!BBH", 0, 17, 8 + len(text))
    return ip_packet(source, to, 17, head[:6] + struct.pack("!H", checksum(pseudo + head + text)) + text)


def gateway_frame(packet):
    gateway = [line.split()[2] for line in subprocess.check_output(["ip", "route"], text=True).splitlines() if line.startswith("default")][0]
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", (gateway, 9))  # The kernel asks for its address.
    time.sleep(0.2)
    with open("/proc/net/arp") as table:
        mac = [line.split()[3] for line in table if line.startswith(gateway + " ")][0]
    with open("/sys/class/net/eth0/address") as own:
        mine = own.read().strip()
    return bytes.fromhex(mac.replace(":", "")) + bytes.fromhex(mine.replace(":", "")) + b"\x08\x00" + packet


def await_syn_ack(to, port):
    heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
    heard.settimeout(0.5)

    def look():
        end = time.time() + WAIT_SECONDS
        while time.time() < end:
            try:
                frame = heard.recv(65535)
            except TimeoutError:
                continue
            packet = frame[14:]
            if len(packet) < 40 or packet[9] != 6 or packet[12:16] != socket.inet_aton(to):
                continue
            if struct.unpack("!H", packet[20:22])[0] == port and packet[33] & 0x12 == 0x12:
                return "THROUGH"
        return "no answer"

    return look


def main(kind, *rest):
    if kind in ("tcp-packet", "tcp-raw"):
        to, port = rest[0], int(rest[1])
        packet = syn(own_address(to), to, random.randrange(20000, 60000), port)
        look = await_syn_ack(to, port)
        if kind == "tcp-packet":
            link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            link.bind(("eth0", 0))
            link.send(gateway_frame(packet))
        else:
            socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW).sendto(packet, (to, 0))
        return look()
    if kind == "icmp":
        pipe = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        pipe.settimeout(WAIT_SECONDS)
        body = struct.pack("!HH", os.getpid() & 0xFFFF, 1) + b"select 1"
        pipe.sendto(struct.pack("!BBH", 8, 0, checksum(b"\x08\0\0\0" + body)) + body, (rest[0], 0))
        while True:
            answer = pipe.recv(65535)
            if answer[20] == 0 and answer[24:] == body:
                return "THROUGH"
    if kind == "udp-from":
        source, to, port, text = rest
        for _ in range(3):
            socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW).sendto(udp(source, to, int(port), text.encode()), (to, 0))
        link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        link.bind(("eth0", 0))
        link.send(gateway_frame(udp(source, to, int(port), text.encode())))
        return "sent"
    if kind == "sniff":
        heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
        heard.settimeout(0.5)
        end = time.time() + float(rest[0])
        frames = 0
        while time.time() < end:
            try:
                frame = heard.recv(65535)
            except TimeoutError:
                continue
            frames += 1
            if rest[1].encode() in frame:
                return "THROUGH"
        return "not in %d frames" % frames
    raise SystemExit(__doc__)


try:
    print(main(*sys.argv[1:]))
except OSError as error:
    print(error)
