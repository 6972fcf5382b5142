curl -H "Authorization: Bearer <token>" \
  "http://127.0.0.1:3006/api/sessions/abc123/messages?limit=20"
