"""A hook of `schanger-edge watch` that mails each result in which something changed; needs Python alone.

schanger-edge watch INBOX -o STATION --hook python3 --hook-arg jetson/hooks/mail.py \
    --hook-arg mail.example.org:587 --hook-arg station@example.org --hook-arg crew@example.org --hook-arg {result}

With SMTP_USER and SMTP_PASSWORD in the environment it logs in, over TLS.
"""

from __future__ import annotations

import json
import os
import smtplib
import sys
from email.message import EmailMessage
from pathlib import Path

SECONDS = 20


def main(server: str, sender: str, receiver: str, folder: str) -> None:
    """Mail the figures and the preview of the result in this folder."""
    summary = json.loads((Path(folder) / "summary.json").read_text(encoding="utf-8"))
    if not summary["polygons"]:
        return
    area = summary["area_m2"]["changed"]
    message = EmailMessage()
    message["From"], message["To"] = sender, receiver
    message["Subject"] = f"{summary['polygons']} changes: {Path(folder).name}"
    size = f"{summary['pixels']['changed']} pixels" if area is None else f"{area:,.0f} m2"
    message.set_content("\n".join([f"{size} changed; see {folder}", *summary["warnings"]]))
    picture = (Path(folder) / "preview.png").read_bytes()
    message.add_attachment(picture, maintype="image", subtype="png", filename="preview.png")
    host, _, port = server.partition(":")
    with smtplib.SMTP(host, int(port or 25), timeout=SECONDS) as connection:
        if "SMTP_USER" in os.environ:
            connection.starttls()
            connection.login(os.environ["SMTP_USER"], os.environ["SMTP_PASSWORD"])
        connection.send_message(message)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (OSError, smtplib.SMTPException) as error:
        sys.exit(f"the mail was not sent: {error}")  # the watch records it
