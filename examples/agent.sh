# An agent program, run in a sandbox:
#   interlock run 'Say hello in five words.' --put examples/agent.sh --program sh agent.sh '{prompt}'
# It asks the model with no key of its own, keeps the answer in its workspace, and tries a host that nobody listed.
printf '{"model":"auto","max_tokens":16,"messages":[{"role":"user","content":"%s"}]}\n' "$1" > asked.json
curl -sS "$OPENAI_BASE_URL/chat/completions" -H 'content-type: application/json' -d @asked.json -o answer.json
printf 'The model says: %s\n' "$(sed -n 's/.*"content":"\(.*\)"}}\].*/\1/p' answer.json)"
curl -s https://example.com/ || echo "example.com is not to be reached"
