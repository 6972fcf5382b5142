curl -X POST -H "Authorization: Bearer <token>" \
  -H "Content-Type: application/json" \
  -d '{
    "text": "Please add a new feature",
    "localId": "local-456"
  }' \
  http://127.0.0.1:3006/api/sessions/abc123/messages
