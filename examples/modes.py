"""One agent in two modes. Needs the package openai, and OPENAI_BASE_URL (ending in /v1) and OPENAI_API_KEY set."""

import openai

client = openai.OpenAI()
for mode in ("plan", "edit"):
    raw = client.chat.completions.with_raw_response.create(
        model="auto",
        messages=[{"role": "user", "content": "Name three primary colours."}],
        max_tokens=24,
        extra_headers={"x-interlock-mode": mode},
    )
    told, answer = raw.headers, raw.parse()
    print(mode, told["x-interlock-tier"], told["x-interlock-deployment"], told["x-interlock-request-id"])
    print(f"  {answer.choices[0].message.content!r}")
